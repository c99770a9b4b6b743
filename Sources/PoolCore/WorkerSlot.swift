/// What the machine knows of one worker's connection.
struct WorkerSlot: Sendable {
    enum State: Equatable {
        /// The worker is connected and has to say hello.
        case greeting(until: UInt64)
        case ready
        /// The worker gets no more events, and leaves after its last answer.
        case draining
        /// The worker failed too often: it gets no more events, and is closed after its last
        /// answer.
        case quarantined
        /// The owner was told to close the connection.
        case closing(PoolAction.CloseReason)
    }

    /// An event that was sent to the worker and that it has not answered.
    struct Held: Sendable {
        let eventID: Int64
        /// `nil` once no session waits for the answer.
        var ticket: PoolTicket?
        /// The fingerprint of the question, once no session waits for the answer.
        var fingerprint: UInt64?
        let sentNS: UInt64
        /// From then on the answer is overdue, even if no session waits for it.
        var deadlineNS: UInt64
        /// How many `progress` messages moved the deadline.
        var extensions: UInt8 = 0
    }

    /// More `progress` than this for one event is ignored (protocol/failure.md, `progress_flood`).
    static let maximumExtensions: UInt8 = 100

    let id: WorkerID
    var state: State
    var hello = PoolHello(identity: "", name: "", concurrency: 0, asked: [])
    /// Sorted by event id, so the oldest event comes first.
    private(set) var held: [Held] = []
    /// How many of the held events have a session that waits for the answer.
    private(set) var awaited = 0
    private(set) var lastEventID: Int64 = 0
    /// How many credits may be used so far; each good answer adds one, up to the worker's
    /// concurrency.
    var rampedCredits = 0
    /// The worker holds a suspect, and gets nothing else meanwhile.
    private(set) var isExclusive = false
    /// The worker gets nothing new until it is idle; then a suspect can be sent to it.
    var isReserved = false
    /// The owner was told to answer the worker's `drain`.
    var isDrainAnswered = false
    /// Since when the worker's socket takes no more octets; `nil` while it takes them.
    var blockedSinceNS: UInt64?
    /// When the worker last wrote something.
    var heardNS: UInt64 = 0
    /// When `ping` was sent to the worker; `nil` once the worker wrote something after it.
    var pingedNS: UInt64?
    /// Whether ``WorkerHealth`` may have failures of the worker's identity, which an answer clears.
    var hasFailuresInARow = false
    /// Whether the worker has answered an event for which a session waited.
    var hasAnswered = false
    var served: UInt64 = 0
    var failed: UInt64 = 0
    var late: UInt64 = 0
    var latency = LatencyHistogram()

    init(id: WorkerID, state: State) {
        self.id = id
        self.state = state
    }

    var credits: Int { min(self.hello.concurrency, self.rampedCredits) }

    /// Whether the worker only observes.
    ///
    /// A worker that registers no hook at all is no observer: it declines everything.
    var isObserver: Bool { self.hello.asked.isEmpty && !self.hello.observed.isEmpty }

    /// Whether the worker may get questions, now or when a credit is free.
    var serves: Bool { self.state == .ready && self.hello.concurrency > 0 }

    /// Whether the worker may get a question now that is no suspect.
    var isFree: Bool {
        self.state == .ready && self.held.count < self.credits && !self.isExclusive
            && !self.isReserved && self.blockedSinceNS == nil
    }

    /// Whether the worker may get a suspect now.
    var isIdle: Bool {
        self.state == .ready && self.held.isEmpty && self.credits > 0 && self.blockedSinceNS == nil
    }

    /// Whether this worker holds fewer events per credit than `other`.
    func isLessBusy(than other: borrowing WorkerSlot) -> Bool {
        self.held.count * other.credits < other.held.count * self.credits
    }

    /// Whether the worker holds an event whose deadline has not passed.
    func isBusy(now: UInt64) -> Bool { self.held.contains { $0.deadlineNS > now } }

    // MARK: - Held events

    /// The index of the event in ``held``; `nil` if it was answered or never sent.
    func position(of eventID: Int64) -> Int? {
        if self.held.first?.eventID == eventID { return 0 }
        var low = 0
        var high = self.held.count
        while low < high {
            let middle = (low + high) / 2
            if self.held[middle].eventID < eventID { low = middle + 1 } else { high = middle }
        }
        return low < self.held.count && self.held[low].eventID == eventID ? low : nil
    }

    /// Takes a credit for an event.
    ///
    /// - Returns: The event's id.
    mutating func hold(
        _ ticket: PoolTicket,
        now: UInt64,
        deadlineNS: UInt64,
        isAlone: Bool
    ) -> Int64 {
        self.lastEventID += 1
        self.awaited += 1
        self.isExclusive = isAlone
        self.held.append(
            Held(
                eventID: self.lastEventID,
                ticket: ticket,
                sentNS: now,
                deadlineNS: deadlineNS
            )
        )
        return self.lastEventID
    }

    /// No session waits for the answer any more; the credit stays taken.
    mutating func abandon(_ eventID: Int64, fingerprint: UInt64) {
        guard let position = self.position(of: eventID), self.held[position].ticket != nil else {
            return
        }
        self.held[position].ticket = nil
        self.held[position].fingerprint = fingerprint
        self.awaited -= 1
    }

    /// Frees the event's credit.
    mutating func release(at position: Int) {
        if self.held[position].ticket != nil { self.awaited -= 1 }
        self.held.remove(at: position)
        if self.held.isEmpty { self.isExclusive = false }
    }

    /// The worker went ahead with the event: the next hook's deadline holds.
    mutating func renew(at position: Int, deadlineNS: UInt64) {
        self.held[position].deadlineNS = deadlineNS
    }

    /// Moves a deadline.
    ///
    /// - Returns: False if it was moved too often.
    mutating func extend(at position: Int, to deadlineNS: UInt64) -> Bool {
        guard self.held[position].extensions < Self.maximumExtensions else { return false }
        self.held[position].extensions += 1
        self.held[position].deadlineNS = deadlineNS
        return true
    }
}
