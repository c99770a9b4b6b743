import PolicyKit

/// What clamd says about one message.
enum ClamdReply {
    /// The most octets of a reply.
    static let limit = 4_096

    /// Reads `stream: OK`, `fd[12]: NAME FOUND`, or `TEXT ERROR`, ended by NUL, LF or the end.
    static func finding(_ octets: [UInt8]) -> VirusFinding {
        let line = octets.prefix { $0 != 0 && $0 != 0x0A }
        let text = String(decoding: line, as: UTF8.self)
        guard let colon = text.firstRange(of: ": ") else { return self.failure(text) }
        let place = text[..<colon.lowerBound]
        guard place == "stream" || place.hasPrefix("fd[") || place.hasPrefix("instream(") else {
            return self.failure(text)
        }
        let rest = text[colon.upperBound...]
        if rest == "OK" { return .clean }
        let found = " FOUND"
        guard rest.hasSuffix(found), rest.utf8.count > found.utf8.count else {
            return self.failure(text)
        }
        return .infected(named: rest.utf8.dropLast(found.utf8.count))
    }

    private static func failure(_ text: String) -> VirusFinding {
        let printable = text.utf8.prefix(200).map { 0x20...0x7E ~= $0 ? $0 : UInt8(ascii: "?") }
        let words = String(decoding: printable, as: UTF8.self)
        return .failed("clamd says \(words.isEmpty ? "nothing" : words)")
    }
}
