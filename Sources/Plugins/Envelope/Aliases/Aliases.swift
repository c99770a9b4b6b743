import DomainNames
package import PolicyKit

/// Gives the mail for an address to others.
///
/// See README.md.
package struct Aliases: RcptHook, DataHook {
    package static let name = "aliases"

    /// The most targets of the recipients of one message: a verdict holds no more changes.
    static let maximumTargetsOfMessage = 200

    private let table: ControlFile<AliasTable>
    private let ours: LocalDomainFiles
    private let rules: AliasRules
    /// The domain of `<postmaster>`.
    private let hostname: String

    package init(configuration: PluginConfiguration) throws {
        let file = configuration.argument("file", as: .text, default: "aliases")
        if file.contains("/") {
            configuration.record(
                "argument file names a file beside config/plugins, without a folder"
            )
        }
        self.rules = AliasRules(
            delimiter: configuration.argument("delimiter", as: .delimiter, default: Delimiter.plus)
                .octet,
            keepsDetail: configuration.argument("keep_detail", as: .flag, default: false)
        )
        self.hostname = configuration.shared.hostname
        self.ours = try LocalDomainFiles(configuration)
        self.table = try configuration.controlFile(file, parse: AliasTable.init)
    }

    package func subscription(at hook: Hook) -> Subscription? {
        hook == .data ? Subscription(.recipients) : Subscription()
    }

    /// Nothing is changed yet: a change would stay if a later plugin refused the recipient.
    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        let recipient = event.recipient
        switch self.expansion(of: recipient, event) {
        case .none:
            if event.notes[.aliasRecipient] != nil { event.notes[.aliasRecipient] = nil }
            return event.skip("no alias")
        case .failed(let problem): return self.refuse(event, recipient, problem)
        case .targets(let targets):
            let count = (event.notes[.aliasTargets] ?? 0) + targets.count
            guard count <= Self.maximumTargetsOfMessage else {
                event.info(
                    "\(recipient.address): more than \(Self.maximumTargetsOfMessage) targets"
                )
                return .denysoft("Too many recipients", code: 452, status: "4.5.3")
            }
            event.notes[.aliasTargets] = count
            event.notes[.aliasRecipient] = Int(clamping: recipient.id)
            return event.pass("\(targets.count) targets")
        }
    }

    package func data(_ event: DataEvent) async throws -> Answer {
        for recipient in event.recipients {
            switch self.expansion(of: recipient, event) {
            case .none: continue
            case .failed(let problem): return self.refuse(event, recipient, problem)
            case .targets(let targets):
                let own = self.address(of: recipient).key
                let isKept = targets.contains { $0.key == own }
                if !isKept, let first = targets.first {
                    event.replaceRecipient(recipient, with: first.text)
                }
                for target in targets.dropFirst(isKept ? 0 : 1) where target.key != own {
                    event.addRecipient(target.text)
                }
                let names = targets.prefix(10).map { "\($0.text)" }.joined(separator: ", ")
                event.info("\(recipient.address): \(names)\(targets.count > 10 ? ", …" : "")")
            }
        }
        return .declined
    }

    private func refuse<Stage>(
        _ event: HookEvent<Stage>,
        _ recipient: Recipient,
        _ problem: String
    ) -> Answer {
        event.error("\(recipient.address): \(problem)")
        return .denysoft("The alias of this recipient is broken", code: 451, status: "4.3.5")
    }

    private func address(of recipient: Recipient) -> AliasAddress {
        let domain = recipient.domain.octets
        return AliasAddress(
            local: recipient.local.octets,
            domain: domain.isEmpty ? Array(self.hostname.utf8) : domain
        )
    }

    private func expansion<Stage>(
        of recipient: Recipient,
        _ event: HookEvent<Stage>
    ) -> AliasExpansion {
        event.value(of: self.table).expand(self.address(of: recipient), self.rules) { domain in
            domain == DomainSpelling.canonical(Array(self.hostname.utf8))
                || self.ours.contains(domain, event)
        }
    }
}

/// What stands between a local part and its detail.
private struct Delimiter: Sendable {
    static let plus = Delimiter(octet: UInt8(ascii: "+"))

    /// `nil`: local parts have no detail.
    let octet: UInt8?
}

extension ArgumentType<Delimiter> {
    fileprivate static var delimiter: Self {
        Self("one of the characters + - = _ # ~, or none") { word in
            if word.lowercased() == "none" { return Delimiter(octet: nil) }
            guard word.utf8.count == 1, let octet = word.utf8.first, "+-=_#~".utf8.contains(octet)
            else { return nil }
            return Delimiter(octet: octet)
        }
    }
}

extension NoteKey<Int> {
    /// The id of the last recipient that had a line of aliases: it exists, whatever other lists say.
    static let aliasRecipient = NoteKey("alias_recipient", in: .transaction)
    /// How many targets the recipients of this transaction have together that have aliases.
    fileprivate static let aliasTargets = NoteKey("alias_targets", in: .transaction)
}
