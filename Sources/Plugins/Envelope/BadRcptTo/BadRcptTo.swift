package import PolicyKit

/// Refuses recipients that `badrcptto` names.
///
/// See README.md.
package struct BadRcptTo: RcptHook {
    package static let name = "badrcptto"
    package static let aliases = ["check_badrcptto", "check_badrcptto_patterns"]

    private let recipients: ControlFile<[BadAddress]>
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.refusal = configuration.refusal()
        self.recipients = try configuration.controlFile("badrcptto", line: BadAddress.init)
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        let recipient = event.recipient
        let subject = BadAddress.Subject(recipient.address, domain: recipient.domain)
        for entry in event.value(of: self.recipients)
        where try entry.matches(subject) {
            event.adjustKarma(by: -2)
            guard let text = entry.text else {
                return event.refuse(
                    self.refusal,
                    "mail to \(entry.word) not accepted here",
                    detail: "1.1"
                )
            }
            return event.refuse(self.refusal, text, detail: "7.1")
        }
        return event.pass("no match")
    }
}
