import Patterns
package import PolicyKit

/// Decides about recipients by addresses and regular expressions.
///
/// See README.md.
package struct RcptRegexp: RcptHook {
    package static let name = "rcpt_regexp"

    private let rules: ControlFile<[RecipientRule]>
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.refusal = configuration.refusal()
        self.rules = try configuration.controlFile("rcpt_regexp", line: RecipientRule.init)
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        let address = event.recipient.address
        for rule in event.value(of: self.rules) where try rule.matches(address) {
            return event.answer(
                rule.verdict,
                "by \(rule.word)",
                self.refusal,
                rule.text ?? "Recipient refused",
                detail: "1.1"
            )
        }
        return event.pass("no match")
    }
}

/// A line of `rcpt_regexp`: an address or `/expression/`, a code, a text.
private struct RecipientRule: Sendable {
    let word: String
    let verdict: ListedVerdict
    let text: String?
    /// `nil`: the whole address is to be ``word``.
    private let pattern: Pattern?

    @Sendable
    init(_ line: ControlLine) throws {
        let (word, rest) = try Self.firstWord(line)
        let parts = ControlLine(text: rest, file: line.file, number: line.number).columns(2)
        guard let code = parts.first else { throw line.problem("\(word) has no code after it") }
        self.word = word
        self.verdict = try ListedVerdict(code, in: line)
        self.text = parts.count > 1 ? parts[1] : nil
        guard word.hasPrefix("/") else {
            self.pattern = nil
            return
        }
        let expression = word.dropFirst().prefix(upTo: word.lastIndex(of: "/") ?? word.endIndex)
        do {
            self.pattern = try Pattern(String(expression))
        } catch {
            throw line.problem("\(error)")
        }
    }

    func matches(_ address: Bytes) throws -> Bool {
        try self.pattern?.occurs(in: address.octets)
            ?? address.equalsIgnoringASCIICase(Bytes(self.word))
    }

    /// The address, or the expression between its slashes, in which white space may stand; and what
    /// follows it.
    private static func firstWord(_ line: ControlLine) throws -> (word: String, rest: String) {
        let text = line.text
        guard text.hasPrefix("/") else {
            let columns = line.columns(2)
            return (columns.first ?? "", columns.count > 1 ? columns[1] : "")
        }
        var end = text.index(after: text.startIndex)
        while end < text.endIndex, text[end] != "/" {
            // What follows a backslash is no end.
            let isEscape = text[end] == "\\"
            end = text.index(after: end)
            if isEscape, end < text.endIndex { end = text.index(after: end) }
        }
        guard end < text.endIndex else { throw line.problem("\(text) has no slash at its end") }
        let expression = text[...end]
        let flags = text[text.index(after: end)...].prefix { $0 != " " && $0 != "\t" }
        guard flags.isEmpty || flags == "i" else {
            throw line.problem(
                "\(flags) behind the expression is not known: i is, and always holds"
            )
        }
        let rest = text.dropFirst(expression.count + flags.count)
        return (String(expression), String(rest.drop { $0 == " " || $0 == "\t" }))
    }
}
