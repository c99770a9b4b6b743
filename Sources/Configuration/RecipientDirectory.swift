/// `recipient_directory` of `worker.toml`: where a recipient's own control files are, as in `var/recipients/%h/%u`.
///
/// `%u` stands for the local part, `%h` for the domain and `%a` for both with `@` between them, in small letters.
package struct RecipientDirectory: Sendable, Equatable {
    /// The path with its placeholders, absolute.
    package let pattern: String

    /// The folder with placeholders for what differs between recipients.
    package init(pattern: String) {
        self.pattern = pattern
    }

    /// Whether recipients are told apart at all.
    var hasPlaceholder: Bool { ["%u", "%h", "%a"].contains { self.pattern.contains($0) } }

    /// The folder of a recipient.
    ///
    /// - Parameters:
    ///   - local: The local part, without quotes.
    ///   - domain: The domain.
    /// - Returns: `nil` if one of them has something else than ASCII letters, digits and `. _ - + =`, begins with a
    ///   dot or a hyphen, or is empty or longer than 128 octets: such a recipient has no files of its own.
    package func path(local: some Collection<UInt8>, domain: some Collection<UInt8>) -> String? {
        guard let user = Self.safe(local), let host = Self.safe(domain) else { return nil }
        var path = ""
        var rest = self.pattern[...]
        while let percent = rest.firstIndex(of: "%") {
            path += rest[..<percent]
            let after = rest.index(after: percent)
            switch after < rest.endIndex ? rest[after] : nil {
            case "u"?: path += user
            case "h"?: path += host
            case "a"?: path += "\(user)@\(host)"
            default:
                path += "%"
                rest = rest[after...]
                continue
            }
            rest = rest[rest.index(after: after)...]
        }
        return path + rest
    }

    private static func safe(_ octets: some Collection<UInt8>) -> String? {
        guard (1...128).contains(octets.count), let first = octets.first, first != 0x2E,
            first != 0x2D
        else { return nil }
        var small: [UInt8] = []
        for octet in octets {
            switch octet {
            case 0x41...0x5A: small.append(octet | 0x20)
            case 0x61...0x7A, 0x30...0x39, 0x2E, 0x5F, 0x2D, 0x2B, 0x3D: small.append(octet)
            default: return nil
            }
        }
        return String(decoding: small, as: UTF8.self)
    }
}
