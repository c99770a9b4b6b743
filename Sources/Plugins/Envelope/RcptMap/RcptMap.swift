import DomainNames
package import PolicyKit

/// Decides about the recipients of a domain by a map.
///
/// See README.md.
package struct RcptMap: RcptHook {
    package static let name = "rcpt_map"

    private let domains: Set<[UInt8]>
    private let map: ControlFile<[Bytes: MapLine]>
    private let unlisted: (verdict: ListedVerdict, text: String)
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        let domains = configuration.arguments("domain", as: .text)
        if domains.isEmpty { configuration.record("argument domain is missing") }
        self.domains = Set(domains.map { DomainSpelling.canonical(Array($0.utf8)) })
        let file = configuration.argument("file", as: .text)
        if file == nil { configuration.record("argument file is missing") }
        if file?.contains("/") == true {
            configuration.record(
                "argument file names a file beside config/plugins, without a folder"
            )
        }
        self.unlisted = configuration.argument(
            "default",
            as: Self.codeAndText,
            default: (.refuse(nil), "No such user.")
        )
        self.refusal = configuration.refusal()
        self.map = try configuration.controlFile(file ?? "rcpt_map", parse: Self.map)
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        let recipient = event.recipient
        guard self.domains.contains(DomainSpelling.canonical(recipient.domain.octets)) else {
            return event.skip("another domain")
        }
        let map = event.value(of: self.map, for: recipient) ?? event.value(of: self.map)
        let line = map[Self.key(recipient.address)]
        if line == nil, event.notes[.aliasRecipient] == Int(clamping: recipient.id) {
            return event.pass("not in the map, but an alias")
        }
        return event.answer(
            line?.verdict ?? self.unlisted.verdict,
            line == nil ? "not in the map" : "in the map",
            self.refusal,
            line.map { $0.text ?? "Recipient refused" } ?? self.unlisted.text,
            detail: "1.1"
        )
    }

    private static func key(_ address: Bytes) -> Bytes {
        Bytes(octets: DomainSpelling.canonical(address: address.octets))
    }

    @Sendable
    private static func map(_ lines: [ControlLine]) throws -> [Bytes: MapLine] {
        var map: [Bytes: MapLine] = [:]
        for line in lines {
            let parts = line.columns(3)
            guard parts.count >= 2, parts[0].contains("@") else {
                throw line.problem("\(line.text) is not an address, a code and a text")
            }
            let key = Self.key(Bytes(parts[0]))
            guard map[key] == nil else { throw line.problem("\(parts[0]) stands there twice") }
            map[key] = MapLine(
                verdict: try ListedVerdict(parts[1], in: line),
                text: parts.count > 2 ? parts[2] : nil
            )
        }
        return map
    }

    /// `CODE` or `CODE=text_with_underscores`.
    private static let codeAndText = ArgumentType<(verdict: ListedVerdict, text: String)>(
        "a code, or a code and a text as in DENY=No_such_user."
    ) { word in
        let parts = word.split(separator: "=", maxSplits: 1)
        guard let code = parts.first, let verdict = ListedVerdict(word: code) else { return nil }
        let text = parts.count > 1 ? parts[1].replacing("_", with: " ") : "No such user."
        return (verdict, String(text))
    }
}

/// What a map says about a recipient.
private struct MapLine: Sendable {
    let verdict: ListedVerdict
    /// `nil`: the plugin's own.
    let text: String?
}
