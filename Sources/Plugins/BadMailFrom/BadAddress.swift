import Patterns
import PolicyKit

/// A line of `badmailfrom` or `badrcptto`: what to look for, and the text of the reply.
struct BadAddress: Sendable {
    private enum Form: Sendable {
        case address(Bytes)
        case domain(Bytes)
        case suffix([UInt8])
        case pattern(Pattern)
    }

    /// The first word of the line.
    let word: String
    /// The rest of the line, `nil` if there is none.
    let text: String?
    private let form: Form

    @Sendable
    init(_ line: ControlLine) throws {
        let parts = line.text.split(
            maxSplits: 1,
            omittingEmptySubsequences: true
        ) { $0 == " " || $0 == "\t" }
        let word = String(parts.first ?? "")
        self.word = word
        self.text = parts.count > 1 ? String(parts[1].drop { $0 == " " || $0 == "\t" }) : nil
        let lowercased = Bytes(word).asciiLowercased
        if word.contains(where: { "/^$*+!%?\\".contains($0) }) {
            do {
                self.form = .pattern(try Pattern(word))
            } catch {
                throw line.problem("\(error)")
            }
        } else if word.hasPrefix("@") {
            self.form = .domain(Bytes(octets: Array(lowercased.octets.dropFirst())))
        } else if word.hasPrefix(".") {
            self.form = .suffix(lowercased.octets)
        } else if word.contains("@") {
            self.form = .address(lowercased)
        } else {
            throw line.problem("\(word) is no address, @domain, .domain or regular expression")
        }
    }

    /// Whether the line means this address; both in lower case.
    ///
    /// - Throws: If a pattern took too long to tell.
    func matches(_ address: Bytes, domain: Bytes) throws -> Bool {
        switch self.form {
        case .address(let bad): address == bad
        case .domain(let bad): domain == bad
        case .suffix(let bad): domain.octets.count > bad.count && domain.octets.hasSuffix(bad)
        case .pattern(let pattern): try pattern.occurs(in: address.octets)
        }
    }
}

extension [UInt8] {
    fileprivate func hasSuffix(_ suffix: [UInt8]) -> Bool {
        self.suffix(suffix.count).elementsEqual(suffix)
    }
}
