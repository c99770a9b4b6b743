import Octets

/// A domain name that may be asked for: ASCII, lower case, without a trailing dot.
///
/// Only letters, digits, hyphen and underscore get in, or escapes for others, so the name can be handed to a
/// resolver that reads escapes in its text form, and written into a log or a note as it is. Labels that
/// are not ASCII are turned into A-labels (RFC 5891 §4.4); see ``Punycode``.
///
/// - Note: RFC 1035 §2.3.4 (63 octets a label, 255 on the wire, so 253 as text), RFC 5321 §2.3.5.
public struct DNSName: Sendable, Hashable, CustomStringConvertible {
    /// The longest name as text.
    public static let maximumOctets = 253
    /// The longest label.
    public static let maximumLabelOctets = 63

    /// The name as text; the root is `.`.
    public let text: String

    /// The name of the DNS root, which a null MX points to (RFC 7505 §3).
    public static let root = DNSName(verified: ".")

    private init(verified text: String) { self.text = text }

    /// The last labels of a name.
    init(suffix: Substring) { self.init(verified: String(suffix)) }

    /// The name as text.
    public var description: String { self.text }

    /// Whether this is the root itself.
    public var isRoot: Bool { self.text == "." }

    /// Reads a domain as it stands in an address; one trailing dot is dropped.
    ///
    /// - Returns: `nil` if it is not a name that the DNS could hold for a mail domain: an empty or
    ///   overlong label, an octet that is neither LDH, underscore nor part of valid UTF-8.
    public init?(octets: [UInt8]) {
        guard !octets.isEmpty, octets.count <= Self.maximumOctets * 4 else { return nil }
        var labels = octets.split(separator: 0x2E, omittingEmptySubsequences: false)
        if labels.count > 1, labels.last?.isEmpty == true { labels.removeLast() }
        var text: [UInt8] = []
        text.reserveCapacity(octets.count)
        for label in labels {
            guard let ascii = Self.asciiLabel(label) else { return nil }
            if !text.isEmpty { text.append(0x2E) }
            text.append(contentsOf: ascii)
        }
        guard !text.isEmpty, text.count <= Self.maximumOctets else { return nil }
        self.init(verified: String(decoding: text, as: UTF8.self))
    }

    /// Reads a domain from text.
    public init?(_ text: String) { self.init(octets: Array(text.utf8)) }

    /// A name of any octets, to be looked up and not to be taken for a mail domain: SPF makes names of what
    /// clients say (RFC 7208 §7).
    ///
    /// Octets other than letters, digits, hyphen and underscore stand in ``text`` as `\DDD`
    /// (RFC 1035 §5.1), which a resolver reads.
    ///
    /// `octets` are labels with dots between them.
    ///
    /// - Returns: `nil` if a label is empty or has more than 63 octets, or if there are more than 253.
    package init?(escaping octets: [UInt8]) {
        guard octets.count <= Self.maximumOctets else { return nil }
        let labels = octets.split(separator: 0x2E, omittingEmptySubsequences: false)
        guard labels.allSatisfy({ (1...Self.maximumLabelOctets).contains($0.count) }) else {
            return nil
        }
        var text: [UInt8] = []
        text.reserveCapacity(octets.count)
        for octet in octets.map(\.lowerCased) {
            if octet.isLetterOrDigit || octet == 0x2D || octet == 0x5F || octet == 0x2E {
                text.append(octet)
            } else {
                text.append(0x5C)
                text += [octet / 100, octet / 10 % 10, octet % 10].map { $0 + 0x30 }
            }
        }
        self.init(verified: String(decoding: text, as: UTF8.self))
    }

    /// Reads an uncompressed name from record data.
    ///
    /// - Returns: `nil` if the data ends early, has a compression pointer, is too long, or holds a
    ///   label that ``init(octets:)`` would not take.
    package init?(wire: ArraySlice<UInt8>) {
        var text: [UInt8] = []
        var rest = wire
        while let length = rest.popFirst() {
            if length == 0 {
                self.init(verified: text.isEmpty ? "." : String(decoding: text, as: UTF8.self))
                return
            }
            guard length <= Self.maximumLabelOctets, rest.count >= Int(length),
                let label = Self.asciiLabel(rest.prefix(Int(length)))
            else { return nil }
            if !text.isEmpty { text.append(0x2E) }
            text.append(contentsOf: label)
            guard text.count <= Self.maximumOctets else { return nil }
            rest = rest.dropFirst(Int(length))
        }
        return nil
    }

    /// One label in lower-case ASCII, or `nil` if it cannot be one.
    private static func asciiLabel(_ label: ArraySlice<UInt8>) -> [UInt8]? {
        guard !label.isEmpty else { return nil }
        var ascii: [UInt8] = []
        ascii.reserveCapacity(label.count)
        for octet in label {
            switch octet {
            case 0x61...0x7A, 0x30...0x39, 0x2D, 0x5F: ascii.append(octet)
            case 0x41...0x5A: ascii.append(octet | 0x20)
            case 0x80...: return Self.internationalLabel(label)
            default: return nil
            }
        }
        return ascii.count <= Self.maximumLabelOctets ? ascii : nil
    }

    private static func internationalLabel(_ label: ArraySlice<UInt8>) -> [UInt8]? {
        guard let text = String(validating: label, as: UTF8.self) else { return nil }
        var scalars: [Unicode.Scalar] = []
        for scalar in text.unicodeScalars {
            scalars.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars)
            guard scalars.count <= Self.maximumLabelOctets else { return nil }
        }
        for scalar in scalars where scalar.isASCII {
            switch scalar.value {
            case 0x61...0x7A, 0x30...0x39, 0x2D: continue
            default: return nil
            }
        }
        guard let encoded = Punycode.encode(scalars) else { return nil }
        let ascii = Array("xn--".utf8) + encoded
        return ascii.count <= Self.maximumLabelOctets ? ascii : nil
    }
}
