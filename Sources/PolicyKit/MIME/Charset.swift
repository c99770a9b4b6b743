/// A character set whose text becomes Unicode here.
enum Charset: Sendable, Equatable {
    case utf8
    case ascii
    case latin1
    case windows1252

    /// The character set with this name, in any case; `nil` if it is not known.
    init?(_ name: String) {
        switch name.lowercased() {
        case "utf-8", "utf8": self = .utf8
        case "us-ascii", "ascii", "ansi_x3.4-1968": self = .ascii
        case "iso-8859-1", "iso8859-1", "iso_8859-1", "latin1": self = .latin1
        case "windows-1252", "cp1252": self = .windows1252
        default: return nil
        }
    }

    /// The text; what the character set does not have becomes U+FFFD.
    func decode(_ octets: [UInt8]) -> String {
        switch self {
        case .utf8: return String(decoding: octets, as: UTF8.self)
        case .ascii: return Self.text(octets) { $0 < 0x80 ? UInt32($0) : 0xFFFD }
        case .latin1: return Self.text(octets) { UInt32($0) }
        case .windows1252:
            return Self.text(octets) { octet in
                0x80...0x9F ~= octet ? Self.windows[Int(octet) - 0x80] : UInt32(octet)
            }
        }
    }

    private static func text(_ octets: [UInt8], _ scalar: (UInt8) -> UInt32) -> String {
        var text = ""
        text.reserveCapacity(octets.count)
        for octet in octets {
            text.unicodeScalars.append(Unicode.Scalar(scalar(octet)) ?? "\u{FFFD}")
        }
        return text
    }

    /// What windows-1252 has from 0x80 to 0x9F.
    private static let windows: [UInt32] = [
        0x20AC, 0xFFFD, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
        0x2039,
        0x0152, 0xFFFD, 0x017D, 0xFFFD, 0xFFFD, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013,
        0x2014,
        0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0xFFFD, 0x017E, 0x0178,
    ]
}
