import DomainNames
import Octets

/// Tells which Authentication-Results fields say that they are of this server (RFC 8601 §5).
///
/// When in doubt, they do: a field that one reader cannot read, another one may.
struct OwnResults: Sendable {
    private let server: [UInt8]
    /// How the name may be spelled, in lower case.
    private let spellings: [[UInt8]]

    /// - Parameter server: The authserv-id of this server.
    init(server: String) {
        let octets = Array(server.utf8)
        self.server = DomainSpelling.canonical(octets)
        self.spellings = [octets.map(\.lowerCased), self.server].map(Self.squeezed)
    }

    /// Whether a field with this value is taken for one of this server.
    func claims(_ value: [UInt8]) -> Bool {
        if let parsed = ParsedResults(value) {
            return DomainSpelling.canonical(parsed.server) == self.server
        }
        return [value, Self.withoutComments(value)].contains { text in
            let text = Self.squeezed(text.map(\.lowerCased))
            return self.spellings.contains { text.contains($0) }
        }
    }

    /// Without what a reader may skip or take off: white space, controls, quotes and backslashes.
    private static func squeezed(_ octets: [UInt8]) -> [UInt8] {
        octets.filter { !$0.isControl && !" \"\\".utf8.contains($0) }
    }

    private static func withoutComments(_ octets: [UInt8]) -> [UInt8] {
        var depth = 0
        var isQuoted = false
        return octets.filter { octet in
            if isQuoted {
                isQuoted = false
                return depth == 0
            }
            switch octet {
            case .backslash: isQuoted = true
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")") where depth > 0:
                depth -= 1
                return false
            default: break
            }
            return depth == 0
        }
    }
}

extension [UInt8] {
    fileprivate func contains(_ part: [UInt8]) -> Bool {
        guard let first = part.first, self.count >= part.count else { return part.isEmpty }
        return (0...(self.count - part.count)).contains { start in
            self[start] == first && self[start..<(start + part.count)].elementsEqual(part)
        }
    }
}
