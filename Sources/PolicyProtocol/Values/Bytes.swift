/// Octets that came from a client or go to one: mostly text, but not always.
///
/// Compares octet by octet, so two spellings of one character are two values.
public struct Bytes: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
    /// The octets.
    public var octets: [UInt8]

    /// Octets as they are.
    public init(octets: [UInt8]) {
        self.octets = octets
    }

    /// The UTF-8 of a text.
    public init(_ string: String) {
        self.octets = Array(string.utf8)
    }

    /// The UTF-8 of a text.
    public init(stringLiteral value: String) {
        self.init(value)
    }

    /// The text; `nil` if the octets are not UTF-8.
    public var string: String? { String(validating: self.octets, as: UTF8.self) }

    /// The octets for a log: printable ASCII as it is, everything else as `\xHH`.
    public var description: String {
        self.octets.reduce(into: "") { text, octet in
            if 0x20...0x7E ~= octet, octet != UInt8(ascii: "\\") {
                text.unicodeScalars.append(Unicode.Scalar(octet))
            } else {
                text += octet < 0x10 ? "\\x0" : "\\x"
                text += String(octet, radix: 16)
            }
        }
    }
}
