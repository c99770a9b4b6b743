import DomainNames
package import PolicyKit

/// Leaves clients, senders and recipients alone that files name.
///
/// See README.md.
package struct Whitelist: ConnectHook, HeloHook, EhloHook, MailHook, RcptHook, DataHook {
    package static let name = "whitelist"

    /// What a host on the list is worth.
    private static let hostKarma = 5

    private let hosts: ControlFile<[WhitelistLine<IPNetwork>]>
    private let hellos: ControlFile<[[UInt8]]>
    private let senders: ControlFile<[WhitelistLine<WhitelistAddress>]>
    private let recipients: ControlFile<[WhitelistAddress]>
    private let isPerRecipient: Bool

    package init(configuration: PluginConfiguration) throws {
        let isPerRecipient = configuration.argument("per_recipient", as: .flag, default: false)
        self.isPerRecipient = isPerRecipient
        if configuration.argument("merge", as: .flag) != nil {
            configuration.warn("merge has no effect: there is one list of each kind")
        }
        self.hosts = try configuration.controlFile("whitelisthosts") { line in
            try WhitelistLine(line, isPerRecipient, ControlLine.network(line))
        }
        self.hellos = try configuration.controlFile("whitelisthelo") { line in
            DomainSpelling.canonical(Array((line.words.first ?? "").utf8))
        }
        self.senders = try configuration.controlFile("whitelistsenders") { line in
            try WhitelistLine(line, isPerRecipient, WhitelistAddress(line))
        }
        self.recipients = try configuration.controlFile(
            "whitelistrcpt",
            line: { try WhitelistAddress($0) }
        )
    }

    package func subscription(at hook: Hook) -> Subscription? {
        hook == .data ? Subscription(.recipients) : Subscription()
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer {
        let address = try event.clientAddress()
        guard
            event.value(of: self.hosts).contains(where: {
                $0.recipient == nil && $0.value.contains(address)
            })
        else { return event.pass("not listed") }
        event.notes[.whitelisthost] = .string("in whitelisthosts")
        event.adjustKarma(by: Self.hostKarma)
        return event.info("host in whitelisthosts")
    }

    package func helo(_ event: HeloEvent) async throws -> Answer { self.greeted(event, event.name) }

    package func ehlo(_ event: EhloEvent) async throws -> Answer { self.greeted(event, event.name) }

    private func greeted<Stage>(_ event: HookEvent<Stage>, _ name: Bytes) -> Answer {
        let isListed = event.value(of: self.hellos).contains(DomainSpelling.canonical(name.octets))
        if isListed {
            event.notes[.whitelisthelo] = true
        } else if event.notes[.whitelisthelo] != nil {
            event.notes[.whitelisthelo] = nil
        }
        return isListed ? event.info("name in whitelisthelo") : event.pass("not listed")
    }

    package func mail(_ event: MailEvent) async throws -> Answer {
        let sender = WhitelistSubject(event.sender.address, domain: event.sender.domain)
        guard
            event.value(of: self.senders).contains(where: {
                $0.recipient == nil && $0.value.matches(sender)
            })
        else { return event.pass("not listed") }
        event.notes[.whitelistsender] = .string("in whitelistsenders")
        return event.info("sender in whitelistsenders")
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        let reason = try self.reason(event, event.recipient)
        event.notes[.whitelistRecipient] = reason == nil ? nil : true
        guard let reason else { return event.pass("not listed") }
        if reason == .recipient {
            event.notes[.whitelistrcpt] = (event.notes[.whitelistrcpt] ?? 0) + 1
        }
        return event.info(reason.rawValue)
    }

    package func data(_ event: DataEvent) async throws -> Answer {
        let recipients = event.recipients
        var isForAll = !recipients.isEmpty
        for recipient in recipients where isForAll {
            isForAll = try self.reason(event, recipient) != nil
        }
        event.notes[.whitelistRecipient] = isForAll ? true : nil
        return event.pass(isForAll ? "all recipients" : "not for all recipients")
    }

    private enum Reason: String {
        case recipient = "recipient in whitelistrcpt"
        case host = "host in whitelisthosts for this recipient"
        case sender = "sender in whitelistsenders for this recipient"
    }

    /// Why checks leave this recipient alone; `nil`: they do not.
    private func reason<Stage: TransactionStage>(
        _ event: HookEvent<Stage>,
        _ recipient: Recipient
    ) throws -> Reason? {
        let subject = WhitelistSubject(recipient.address, domain: recipient.domain)
        let isMeant = { (listed: WhitelistAddress) in listed.matches(subject) }
        if event.value(of: self.recipients).contains(where: isMeant) { return .recipient }
        guard self.isPerRecipient else { return nil }
        let address = try event.clientAddress()
        let ownHosts = event.value(of: self.hosts, for: recipient) ?? []
        let hosts = event.value(of: self.hosts).filter { $0.recipient.map(isMeant) == true }
        if (ownHosts + hosts).contains(where: { $0.value.contains(address) }) { return .host }
        let sender = WhitelistSubject(
            event.transaction.sender.address,
            domain: event.transaction.sender.domain
        )
        let ownSenders = event.value(of: self.senders, for: recipient) ?? []
        let senders = event.value(of: self.senders).filter { $0.recipient.map(isMeant) == true }
        let isSender = (ownSenders + senders).contains {
            $0.value.matches(sender)
        }
        return isSender ? .sender : nil
    }
}

/// A line of a whitelist, and the recipient for whom alone it counts.
private struct WhitelistLine<Value: Sendable>: Sendable {
    let value: Value
    let recipient: WhitelistAddress?

    init(_ line: ControlLine, _ isPerRecipient: Bool, _ value: Value) throws {
        self.value = value
        let words = line.words
        self.recipient =
            isPerRecipient && words.count > 1 ? try WhitelistAddress(words[1], line) : nil
    }
}

/// An address, or all addresses of a domain.
private enum WhitelistAddress: Sendable {
    case address([UInt8])
    case domain([UInt8])

    init(_ line: ControlLine) throws { try self.init(line.words.first ?? "", line) }

    init(_ word: String, _ line: ControlLine) throws {
        let octets = Array(word.utf8)
        if word.dropFirst().dropLast().contains("@") {
            self = .address(DomainSpelling.canonical(address: octets))
            return
        }
        let domain = word.hasPrefix("@") ? Array(octets.dropFirst()) : octets
        guard DNSName(octets: domain).map({ !$0.isRoot }) == true else {
            throw line.problem("\(word) is no address or domain")
        }
        self = .domain(DomainSpelling.canonical(domain))
    }

    func matches(_ subject: WhitelistSubject) -> Bool {
        switch self {
        case .address(let listed): subject.address == listed
        case .domain(let listed): subject.domain == listed
        }
    }
}

/// An address that is looked for, in the spelling of the lists: it is made once, and compared with every line.
private struct WhitelistSubject {
    let address: [UInt8]
    let domain: [UInt8]

    init(_ address: Bytes, domain: Bytes) {
        self.address = DomainSpelling.canonical(address: address.octets)
        self.domain = DomainSpelling.canonical(domain.octets)
    }
}

extension NoteKey<Bool> {
    /// The name that the client gave is on a whitelist.
    static let whitelisthelo = NoteKey("whitelisthelo", in: .session)
}

extension NoteKey<Int> {
    /// How many recipients of this transaction are on a whitelist.
    static let whitelistrcpt = NoteKey("whitelistrcpt", in: .transaction)
}
