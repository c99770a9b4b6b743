package import JSON
package import PolicyProtocol
package import SMTPCore

/// The policy side of one SMTP session: what is asked, of which pool, in which order, and what an
/// answer changes.
///
/// No I/O, no clock. It is told what happened and appends what is to be done to a list of actions;
/// its caller performs them in their order, and tells it what came of them.
///
/// One question is open at a time. It goes to the pools of the session's route, in order, until one
/// does not decline. A verdict is **judged** against the session, its notes and actions are applied
/// to a copy (an **edit**), and the copy is **committed** as a whole or not at all. The decision of
/// all pools becomes an outcome for SMTP by ``SMTPEventMapping``, which the caller hands to the
/// ``SMTPSession``; what that does with it comes back by ``replied(by:_:)``.
///
/// It owns the facts of the session, the transaction with its envelope and header, the notes and the
/// trace. A session keeps the route and the limits that it began with.
///
/// - Note: protocol/README.md, protocol/verdicts.md and protocol/failure.md are what it keeps.
package struct PolicySession: ~Copyable {
    package internal(set) var facts: SessionFacts
    /// What policy sees between MAIL and the end of the message; `nil` outside of that.
    var transaction: MailTransaction?
    var notes = PolicyNotes()
    var trace = PolicyTrace()
    /// The part of the trace that belongs to the last question.
    var questionTrace = PolicyTrace()

    let demand: PolicyDemand
    /// The pools that this session's questions go to, in order.
    package let route: [PoolProfile]
    let smtp: SMTPConfiguration
    /// The longest delay of a reply that a worker may ask for, in milliseconds.
    let maximumDelayMS: Int64
    /// How long the reply to a login that failed is held back, in milliseconds.
    let failedLoginDelayMS: Int64

    var phase = Phase.idle
    /// What the pools said to the question that was decided last.
    var decision = PolicyDecision.undecided
    var proposal = Proposal.none
    /// Whether the open question is of a VRFY that said SMTPUTF8.
    var isVerifyUTF8 = false
    /// The challenge whose answer is awaited, or asked about; it is over with the first step of another
    /// login.
    var exchange: LoginExchange?
    var content = Content.none
    /// The pools, by their place in the route, whose workers can read the message by its path.
    var readyPools: [Int] = []
    /// Why the message could not be written while it arrived.
    var spoolFailure: SpoolFailure?
    /// Our trace field for the message that is answered now; `nil` until a worker or the header wants it.
    var receivedText: [UInt8]?
    /// When the message was complete, as RFC 5322 §3.3 writes it.
    var date: [UInt8] = []

    /// The open question's idempotency key, the same for every attempt; ASCII.
    package internal(set) var key: [UInt8] = []
    /// The open question's `args` object.
    package internal(set) var arguments = JSONWriter()
    /// The same for all hooks that an event names, if `queue` is one of them.
    var argumentsAhead = JSONWriter()
    /// What the transaction's end says of an answer that has a reply for each recipient.
    var replyOfEach: SMTPReply?
    var transactionCount: UInt64 = 0
    /// The end of the transaction is being told.
    var isTransactionOver = false
    var questionCount: UInt64 = 0

    /// What the session waits for.
    enum Phase {
        /// No question is open.
        case idle
        /// A pool is asked.
        case asking(Question)
        /// A pool has given a verdict whose replacement message waits to be taken over.
        indirect case judged(Question, PolicyEdit)
        /// The message is written to its file for the pool that is asked next.
        case storing(Question)
        /// A worker's file is taken over; its verdict counts if that succeeds.
        indirect case replacing(Question, PolicyEdit, PoolOutcome)
        /// ``decision`` is known, and its reply is held back.
        case held(Hook)
        /// SMTP has the outcome of ``decision``, and has not said yet what the client is told.
        case answered(Hook, isRefusal: Bool)
    }

    /// What is being asked, and how far it has got.
    ///
    /// Holds no references, so that a copy costs nothing.
    struct Question {
        /// Moves on when the worker goes ahead.
        var hook: Hook
        /// The hook of the event that was written last.
        var writtenHook: Hook
        /// Hooks that the question's worker may go on to.
        var ahead = HookSet()
        /// Monotonic nanoseconds.
        let askedNS: UInt64
        /// The place in the route of the pool that is asked now.
        var pool = 0
        /// Whether any pool was asked whose answer counts.
        var wasAsked = false
        /// The delay that workers asked for, the longest of each verdict added up.
        var delayMS: Int64 = 0
    }

    /// What takes effect, or is taken back, when the open question is answered.
    enum Proposal {
        case none
        /// The name that held before this HELO or EHLO.
        case hello(before: (verb: String, name: [UInt8])?)
        /// The user name that the client gave, and its proof.
        case login(SMTPCredentials, LoginHistory)
        case sender(EnvelopeAddress)
        /// The recipient as the client wrote it.
        case recipient([UInt8])
    }

    /// How far the message of the transaction has come.
    enum Content {
        /// DATA was not granted yet.
        case none
        case arriving
        /// The final dot was seen: workers may be told of the message.
        case complete
    }

    package init(
        facts: SessionFacts,
        route: [PoolProfile],
        demand: PolicyDemand,
        smtp: SMTPConfiguration,
        maximumDelayMS: Int64,
        failedLoginDelayMS: Int64 = 0
    ) {
        self.facts = facts
        self.route = route
        self.demand = demand
        self.smtp = smtp
        self.maximumDelayMS = maximumDelayMS
        self.failedLoginDelayMS = failedLoginDelayMS
    }

    /// The hook that is being asked about; `nil` between questions.
    package var openHook: Hook? { self.openQuestion?.hook }

    /// The recipients of the envelope, granted or added; empty outside of a transaction.
    package var recipients: [EnvelopeRecipient] { self.transaction?.recipients ?? [] }

    /// The `notes` object of an event.
    package var notesText: [UInt8] { self.notes.text(hasTransaction: self.isInTransaction) }

    /// Whether the final dot was seen, so that workers may be told of the message.
    package var isMessageComplete: Bool { self.content == .complete }

    var isInTransaction: Bool { if case .some = self.transaction { true } else { false } }

    package var transactionID: String? { self.transaction?.id }

    /// Octets of memory that it holds, about.
    package var heldOctets: Int { self.transaction?.heldOctets ?? 0 }

    /// No question is open.
    package var isIdle: Bool { if case .idle = self.phase { true } else { false } }

    /// Whether a question about the message is open: of its header, or of all of it.
    package var isMessageAsked: Bool {
        let hook: Hook? =
            switch self.phase {
            case .held(let hook), .answered(let hook, _): hook
            case .idle, .asking, .storing, .judged, .replacing: self.openHook
            }
        return hook.map { $0 == .data_headers_end || $0.isOfMessage } ?? false
    }

    var openQuestion: Question? {
        switch self.phase {
        case .asking(let question), .storing(let question), .judged(let question, _),
            .replacing(let question, _, _):
            question
        case .idle, .held, .answered: nil
        }
    }
}
