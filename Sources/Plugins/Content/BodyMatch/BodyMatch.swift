import Patterns
package import PolicyKit

/// Refuses messages in whose text a pattern of a list occurs.
///
/// See README.md.
package struct BodyMatch: DataPostHook {
    package static let name = "body_match"

    /// A line of the control file.
    private struct Rule: Sendable {
        let pattern: Pattern
        /// What the client is told; `nil`: the usual.
        let text: String?
        /// Whether it is only logged.
        let isLogged: Bool
    }

    /// The most octets of one text that are searched.
    private static let maximumTextOctets = 1_000_000

    private let rules: ControlFile<[Rule]>
    private let searchesSubject: Bool
    private let sizeLimit: Int
    private let scansRelayClients: Bool
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        let file = configuration.argument("file", as: .fileName, default: "body_match")
        self.searchesSubject = configuration.argument("subject", as: .flag, default: true)
        self.sizeLimit = configuration.argument(
            "size_limit",
            as: .integer(in: 1...100_000_000),
            default: 10_000_000
        )
        self.scansRelayClients = configuration.argument(
            "relayclient",
            as: .choice(["skip": false, "scan": true]),
            default: false
        )
        self.refusal = configuration.refusal()
        self.rules = try configuration.controlFile(file) { try Self.rule($0) }
    }

    /// `/PATTERN/`, and after it what the client is told, or the word `log`.
    private static func rule(_ line: ControlLine) throws -> Rule {
        let text = line.text.dropFirst()
        // PCRE2 reads \/ as a slash.
        var isEscaped = false
        let end = text.firstIndex { character in
            defer { isEscaped = character == "\\" && !isEscaped }
            return character == "/" && !isEscaped
        }
        guard line.text.hasPrefix("/"), let end else {
            throw line.problem("it must be /PATTERN/, and after it the reply or log")
        }
        let source = String(text[..<end])
        let rest = text[text.index(after: end)...].drop { $0 == " " || $0 == "\t" }
        guard !source.isEmpty, rest.utf8.allSatisfy({ 0x20...0x7E ~= $0 || $0 == 0x09 }),
            rest.utf8.count <= 400
        else { throw line.problem("it must be /PATTERN/, and after it printable ASCII") }
        do throws(PatternError) {
            return Rule(
                pattern: try Pattern(source),
                text: rest.isEmpty || rest == "log" ? nil : String(rest),
                isLogged: rest == "log"
            )
        } catch {
            throw line.problem("\(error)")
        }
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(.wholeMessage) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        if event.isImmune, !(event.session.relay && self.scansRelayClients) {
            return event.skip("immune")
        }
        let rules = event.value(of: self.rules)
        guard !rules.isEmpty else { return event.skip("no patterns") }
        let message = try event.message
        guard message.size <= self.sizeLimit else {
            return event.skip("too large (\(message.size))")
        }
        let mime = try await message.mime(limit: self.sizeLimit)
        let searchesSubject = self.searchesSubject
        let result = await onThreadOfItsOwn { () -> Result<[Rule], PatternError> in
            let texts = Self.texts(mime, withSubject: searchesSubject)
            return Result { () throws(PatternError) in
                var matching: [Rule] = []
                for rule in rules {
                    for text in texts where try rule.pattern.occurs(in: text) {
                        matching.append(rule)
                        break
                    }
                }
                return matching
            }
        }
        guard let result else { throw PluginError("no thread for the search") }
        let matching = try result.get()
        for rule in matching where rule.isLogged { event.info("/\(rule.pattern.source)/ matches") }
        guard let rule = matching.first(where: { !$0.isLogged }) else {
            return event.pass("\(rules.count) patterns")
        }
        event.adjustKarma(by: -1)
        event.info("/\(rule.pattern.source)/ matches")
        return event.refuse(
            self.refusal,
            rule.text ?? "The message has content that is not accepted",
            detail: "7.1"
        )
    }

    /// The decoded texts of a message as UTF-8, and its subject.
    private static func texts(_ mime: MIMEMessage, withSubject: Bool) -> [[UInt8]] {
        var texts: [[UInt8]] = []
        for part in mime.parts where part.parts.isEmpty && part.type.hasPrefix("text/") {
            let octets = part.text().map { Array($0.utf8) } ?? part.content()
            texts.append(Array(octets.prefix(Self.maximumTextOctets)))
        }
        guard withSubject else { return texts }
        let subjects = mime.root.fields.filter { $0.name.equalsIgnoringASCIICase("Subject") }
        return subjects.map { Array($0.text.utf8) } + texts
    }
}

extension ArgumentType<String> {
    /// The name of a control file.
    fileprivate static var fileName: Self {
        Self("the name of a file in the configuration folder") { word in
            !word.isEmpty && !word.contains("/") && !word.hasPrefix(".") ? word : nil
        }
    }
}
