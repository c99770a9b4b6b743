import JSON
import PolicyProtocol
package import SMTPCore

/// An address of the envelope with what its command said beside it.
package struct EnvelopeAddress: Equatable {
    /// As it stands between `<` and `>`; empty for the null reverse-path.
    package let address: [UInt8]
    /// The local part without its quoting.
    package let local: [UInt8]
    /// `nil` for the null reverse-path and for `<postmaster>`.
    package let domain: [UInt8]?
    /// ESMTP parameters, as the client wrote them.
    package var parameters = SMTPParameters.none

    package init(_ path: ReversePath, _ parameters: SMTPParameters) {
        self.address = path.address
        self.local = path.mailbox?.canonicalLocalPart ?? []
        self.domain = path.mailbox.map { Array($0.domain) }
        self.parameters = parameters
    }

    package init(_ path: ForwardPath, _ parameters: SMTPParameters) {
        self.address = path.address
        self.parameters = parameters
        switch path {
        case .postmaster(let octets):
            self.local = octets
            self.domain = nil
        case .mailbox(let mailbox):
            self.local = mailbox.canonicalLocalPart
            self.domain = Array(mailbox.domain)
        }
    }
}

/// The message that a worker left in the place of the one that came.
package struct ReplacedMessage: Equatable, Sendable {
    /// Octets of all of it.
    package let size: Int
    /// Its header section; the body follows.
    package let header: [UInt8]

    package init(size: Int, header: [UInt8]) {
        self.size = size
        self.header = header
    }
}

/// A recipient that a worker refused after RCPT had granted it.
package struct RecipientRefusal: Equatable {
    let id: Int
    /// `deny` or `denysoft`.
    let verdict: Verdict
    /// As the worker worded it; `nil` for the standard reply.
    let worded: PolicyReply?
    let hook: Hook
    /// What the client is told, if it hears of each recipient.
    let reply: SMTPReply
    /// Its address.
    var recipient: [UInt8] = []
    var decider: PolicyDecision.Decider?
}

/// What policy sees and may change between MAIL and the end of the message.
///
/// A value: a verdict's actions are applied to a copy, and the copy replaces the original only when
/// all of them could be applied (protocol/verdicts.md). Dies at reset, so that nothing leaks into the
/// next.
package struct MailTransaction {
    package let id: String
    /// `nil` while MAIL is asked about.
    package internal(set) var sender: EnvelopeAddress? { didSet { self.fixedOctets = 0 } }
    package let isSMTPUTF8: Bool
    /// The client hears a reply for each RCPT that was granted (LMTP, PRDR).
    let isHeardEach: Bool
    /// When the message may be released, in Unix milliseconds; `nil`: at once (RFC 4865).
    let holdUntilMS: Int64?
    /// The recipient of each RCPT that was granted, in their order, if the client hears of each.
    private(set) var grants: [Int] = []
    /// Recipients that a worker refused after they were granted; they are in the envelope no longer.
    private(set) var refusals: [RecipientRefusal] = []
    /// MAIL was granted.
    var isGranted = false
    private var recipientList = EnvelopeRecipients()
    /// The recipient that RCPT asks about; it has its id already.
    package private(set) var candidate: EnvelopeRecipient?
    private var lastRecipientID = 0
    /// What the RCPT that is asked about named.
    private var named: EnvelopeAddress?
    /// What the RCPTs that were granted named: nothing yet, one mailbox, or several.
    private var granted = Granted.none

    private enum Granted {
        case none
        case one(EnvelopeAddress)
        case several
    }
    private var headerState = HeaderState.unread([])
    /// The header section as it came, whatever policy made of it; for knowing a message again.
    private var headerOctets: [UInt8] = []
    private var knownHeaderHash: UInt64?
    /// The JSON that every event has of it, without the closing brace, as it was written last.
    private var text = JSONWriter()
    /// Its octets before `recipient_count`, the last member; 0 when they have to be written again.
    private var fixedOctets = 0
    private var recipientCount = 0
    /// Octets of the message as it came, and where its header section ends.
    var size = 0
    var bodyOffset = 0

    /// The header fields are parsed when they are first needed.
    private enum HeaderState {
        case unread([UInt8])
        case parsed(HeaderList)
    }

    /// `nowMS` is the time of MAIL, in Unix milliseconds.
    init(id: String, _ parameters: MailParameters, isHeardEach: Bool = false, nowMS: Int64 = 0) {
        self.id = id
        self.isSMTPUTF8 = parameters.isSMTPUTF8
        self.isHeardEach = isHeardEach
        self.holdUntilMS = parameters.futureRelease?.releaseMS(nowMS: nowMS)
    }

    var hasSender: Bool { if case .some = self.sender { true } else { false } }

    /// Octets of memory that it holds, about.
    package var heldOctets: Int {
        let fields =
            switch self.headerState {
            case .unread: 0
            case .parsed(let list): list.heldOctets
            }
        let recipients = self.recipients.count * (MemoryLayout<EnvelopeRecipient>.stride + 128)
        return self.headerOctets.count + fields + recipients + self.text.octets.count
    }

    // MARK: - Recipients

    /// Those granted or added, each once, in that order.
    package var recipients: [EnvelopeRecipient] { self.recipientList.entries }

    /// How many recipients count for the limit: one that RCPT granted twice counts twice, so that a
    /// client cannot repeat it without end.
    ///
    /// What a worker adds or removes sets it to the number of recipients.
    private(set) var countedRecipients = 0

    /// RCPT asks about `address`; its id is never given to another.
    mutating func propose(_ address: EnvelopeAddress) {
        self.lastRecipientID += 1
        self.candidate = EnvelopeRecipient(id: self.lastRecipientID, address: address)
        self.named = address
    }

    /// RCPT was answered; a recipient that is there already stays the one that it is.
    mutating func candidateAnswered(isGranted: Bool) {
        defer { self.candidate = nil }
        guard isGranted, let candidate = self.candidate else { return }
        self.countedRecipients += 1
        if let named { self.grantNamed(named) }
        let isRepeated = self.recipientList.contains(candidate)
        if !isRepeated { self.recipientList.append(candidate) }
        guard self.isHeardEach else { return }
        let id = isRepeated ? self.recipientList.id(sameAs: candidate) : candidate.id
        self.grants.append(id ?? candidate.id)
    }

    private mutating func grantNamed(_ address: EnvelopeAddress) {
        switch self.granted {
        case .none: self.granted = .one(address)
        case .one(let first):
            if !first.isSameMailbox(as: address) { self.granted = .several }
        case .several: break
        }
    }

    /// The mailbox that the client named, if it named one only: as it was named, whatever workers made of
    /// the recipients; else `nil`.
    var onlyNamedRecipient: [UInt8]? {
        if case .one(let address) = self.granted { address.address } else { nil }
    }

    /// A worker refuses a recipient that was granted; false when no recipient has that id.
    mutating func refuse(_ refusal: RecipientRefusal) -> Bool {
        guard let recipient = self.recipients.first(where: { $0.id == refusal.id }),
            self.recipientList.remove(id: refusal.id)
        else { return false }
        var refusal = refusal
        refusal.recipient = recipient.address.address
        self.refusals.append(refusal)
        return true
    }

    /// Which worker refused the recipients for which that is not told yet.
    mutating func refused(by decider: PolicyDecision.Decider) {
        for index in self.refusals.indices where self.refusals[index].decider == nil {
            self.refusals[index].decider = decider
        }
    }

    var hasRefusals: Bool { !self.refusals.isEmpty }

    /// The refusal that speaks for all where the client cannot hear of each: one for now before one for
    /// good, for only then the message comes again.
    var worstRefusal: RecipientRefusal? {
        self.refusals.first { $0.verdict == .denysoft } ?? self.refusals.first
    }

    /// No recipient can get the message any more, or the client cannot be told which recipients do.
    var isSettledByRefusals: Bool {
        self.hasRefusals && (!self.isHeardEach || self.recipients.isEmpty)
    }

    /// The reply to each RCPT that was granted; `reply` for those that were not refused.
    func replies(_ reply: SMTPReply) -> [SMTPReply] {
        self.grants.map { id in self.refusals.first { $0.id == id }?.reply ?? reply }
    }

    /// Adds a recipient of a worker's.
    mutating func addRecipient(_ address: EnvelopeAddress) {
        self.lastRecipientID += 1
        self.recipientList.append(EnvelopeRecipient(id: self.lastRecipientID, address: address))
    }

    /// False when no recipient has that id.
    mutating func removeRecipient(id: Int) -> Bool { self.recipientList.remove(id: id) }

    /// False when no recipient has that id; the one that is asked about counts.
    mutating func replaceRecipient(id: Int, with address: EnvelopeAddress) -> Bool {
        if self.candidate?.id == id {
            self.candidate?.replaceAddress(by: address)
            return true
        }
        return self.recipientList.replace(id: id, with: address)
    }

    /// A worker's actions have all been applied: of recipients that are the same the first stays.
    mutating func dropRepeatedRecipients() {
        for (gone, kept) in self.recipientList.dropRepeated() {
            for index in self.grants.indices where self.grants[index] == gone {
                self.grants[index] = kept
            }
        }
        self.countedRecipients = self.recipients.count
    }

    // MARK: - Header

    /// The header section has been read; its octets, without the empty line.
    mutating func headerRead(_ octets: [UInt8]) {
        self.headerOctets = octets
        self.knownHeaderHash = nil
        self.headerState = .unread(octets)
    }

    /// Lends the fields as they are now, edits included.
    @discardableResult
    mutating func withHeaders<Result>(_ body: (inout HeaderList) -> Result) -> Result {
        var list =
            switch self.headerState {
            case .parsed(let list): list
            case .unread(let octets): HeaderList(section: octets)
            }
        // Only one reference is left: a change copies nothing.
        self.headerState = .unread([])
        defer { self.headerState = .parsed(list) }
        return body(&list)
    }

    /// A hash of the header section as it came: it is read once, however often it is asked for.
    mutating func headerHash() -> UInt64 {
        if let hash = self.knownHeaderHash { return hash }
        var hash = StableHash()
        hash.combine(self.headerOctets)
        self.knownHeaderHash = hash.value
        return hash.value
    }

    /// Another message took this one's place; no id of the old fields is used again.
    mutating func messageReplaced(by message: ReplacedMessage) {
        let firstID = self.withHeaders { $0.nextID }
        self.headerState = .parsed(HeaderList(section: message.header, firstID: firstID))
        self.bodyOffset = message.header.count
        self.size = message.size
    }
}

// MARK: - JSON

extension MailTransaction {
    /// Writes the `transaction` object of an event, with the parts that its reader asked for.
    ///
    /// `messagePath` is the file with all of the message; `nil` leaves it out.
    mutating func encode(
        _ needs: Needs,
        hasHeader: Bool,
        messagePath: String?,
        into writer: inout JSONWriter
    ) {
        self.updateText()
        writer.rawOpenObject(self.text.octets)
        if needs.contains(.recipients) {
            writer.key("recipients")
            writer.beginArray()
            for recipient in self.recipients {
                EventArguments.encode(recipient.address, id: recipient.id, into: &writer)
            }
            writer.endArray()
        }
        if needs.contains(.headers), hasHeader {
            writer.key("headers")
            self.withHeaders { $0.encode(into: &writer) }
        }
        if let messagePath {
            writer.key("message")
            writer.beginObject()
            writer.key("path")
            writer.string(messagePath)
            writer.key("size")
            writer.int(Int64(self.size))
            writer.key("body_offset")
            writer.int(Int64(self.bodyOffset))
            writer.endObject()
        }
        writer.endObject()
    }

    private mutating func updateText() {
        if self.fixedOctets == 0 {
            self.text.removeAll()
            self.text.beginObject()
            self.text.key("id")
            self.text.string(self.id)
            self.text.key("sender")
            if let sender = self.sender {
                EventArguments.encode(sender, id: nil, into: &self.text)
            } else {
                self.text.null()
            }
            if self.isHeardEach {
                self.text.key("replies_each")
                self.text.bool(true)
            }
            if let time = self.holdUntilMS {
                self.text.key("hold_until_ms")
                self.text.int(time)
            }
            self.fixedOctets = self.text.octets.count
        } else if self.recipientCount == self.recipients.count {
            return
        } else {
            self.text.truncate(to: self.fixedOctets)
        }
        self.recipientCount = self.recipients.count
        self.text.fragment(#","recipient_count":"#)
        self.text.int(Int64(self.recipientCount))
    }
}
