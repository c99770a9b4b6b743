package import PolicyKit

/// Refuses pairs of sender and recipient that `badmailfromto` names.
///
/// See README.md.
package struct BadMailFromTo: RcptHook {
    package static let name = "badmailfromto"
    package static let aliases = ["check_badmailfromto"]

    private let pairs: ControlFile<[BadPair]>
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.refusal = configuration.refusal()
        self.pairs = try configuration.controlFile("badmailfromto", line: BadPair.init)
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        if event.isImmune { return event.skip("immune") }
        let sender = event.transaction.sender
        if sender.isNull { return event.skip("null sender") }
        let from = BadAddress.Subject(sender.address, domain: sender.domain)
        let recipient = event.recipient
        let to = BadAddress.Subject(recipient.address, domain: recipient.domain)
        for pair in event.value(of: self.pairs)
        where try pair.sender.matches(from) && pair.recipient.matches(to) {
            return event.refuse(
                self.refusal,
                "mail to \(pair.recipient.word) not accepted here",
                detail: "1.1"
            )
        }
        return event.pass("no match")
    }
}

/// A line of `badmailfromto`.
private struct BadPair: Sendable {
    let sender: BadAddress
    let recipient: BadAddress

    @Sendable
    init(_ line: ControlLine) throws {
        let words = line.words
        guard words.count >= 2 else {
            throw line.problem("\(line.text) is not a sender and a recipient")
        }
        func address(_ word: String) throws -> BadAddress {
            try BadAddress(ControlLine(text: word, file: line.file, number: line.number))
        }
        self.sender = try address(words[0])
        self.recipient = try address(words[1])
    }
}
