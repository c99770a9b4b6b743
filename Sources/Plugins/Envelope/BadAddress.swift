import DomainNames
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
        let parts = line.columns(2)
        let word = parts.first ?? ""
        self.word = word
        self.text = parts.count > 1 ? parts[1] : nil
        let octets = Array(word.utf8)
        if word.count > 1, word.hasPrefix("/"), word.hasSuffix("/") {
            throw line.problem("\(word) matches no address: write the expression without slashes")
        }
        if word.contains(where: { "/^$*+!%?\\".contains($0) }) {
            do {
                self.form = .pattern(try Pattern(word))
            } catch {
                throw line.problem("\(error)")
            }
        } else if word.hasPrefix("@") {
            let domain = DomainSpelling.canonical(Array(octets.dropFirst()))
            self.form = .domain(Bytes(octets: domain))
        } else if word.hasPrefix(".") {
            self.form = .suffix([0x2E] + DomainSpelling.canonical(Array(octets.dropFirst())))
        } else if word.contains("@") {
            self.form = .address(Bytes(octets: DomainSpelling.canonical(address: octets)))
        } else {
            throw line.problem("\(word) is no address, @domain, .domain or regular expression")
        }
    }

    /// An address as lines are compared with.
    struct Subject {
        /// In lower case, as the client wrote it: for patterns.
        fileprivate let written: Bytes
        /// With the domain in its one spelling.
        fileprivate let address: Bytes
        fileprivate let domain: Bytes

        init(_ address: Bytes, domain: Bytes) {
            self.written = address.asciiLowercased
            self.address = Bytes(octets: DomainSpelling.canonical(address: address.octets))
            self.domain = Bytes(octets: DomainSpelling.canonical(domain.octets))
        }
    }

    /// Whether the line means this address.
    ///
    /// - Throws: If a pattern took too long to tell.
    func matches(_ subject: Subject) throws -> Bool {
        switch self.form {
        case .address(let bad): subject.address == bad
        case .domain(let bad): subject.domain == bad
        case .suffix(let bad):
            subject.domain.octets.count > bad.count && subject.domain.octets.hasSuffix(bad)
        case .pattern(let pattern): try pattern.occurs(in: subject.written.octets)
        }
    }
}

extension [UInt8] {
    fileprivate func hasSuffix(_ suffix: [UInt8]) -> Bool {
        self.suffix(suffix.count).elementsEqual(suffix)
    }
}
