package import PolicyKit

/// Refuses senders that `badmailfrom` names.
///
/// See README.md.
package struct BadMailFrom: MailHook {
    package static let name = "badmailfrom"
    package static let aliases = ["check_badmailfrom", "check_badmailfrom_patterns"]

    private let senders: ControlFile<[BadAddress]>
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.refusal = configuration.refusal()
        self.senders = try configuration.controlFile("badmailfrom", line: BadAddress.init)
    }

    package func mail(_ event: MailEvent) async throws -> Answer {
        if event.isImmune { return event.skip("immune") }
        let sender = event.sender
        if sender.isNull { return event.skip("null sender") }
        let subject = BadAddress.Subject(sender.address, domain: sender.domain)
        for entry in event.value(of: self.senders)
        where try entry.matches(subject) {
            event.adjustKarma(by: -1)
            return event.refuse(
                self.refusal,
                entry.text ?? "Your envelope sender is in my badmailfrom list",
                detail: "7.1"
            )
        }
        return event.pass("no match")
    }
}
