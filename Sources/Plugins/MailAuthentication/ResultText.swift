import Octets

/// Words of header fields that tell results of checks.
enum ResultText {
    /// `token` of RFC 2045 §5.1: the octets that may stand in one.
    static func isTokenOctet(_ octet: UInt8) -> Bool {
        (0x21...0x7E).contains(octet) && !"()<>@,;:\\\"/[]?=".utf8.contains(octet)
    }

    /// `value` of RFC 8601 §2.2: a token as it is, anything else as a quoted string.
    ///
    /// Octets that may not stand there become question marks: controls, those above 127 unless
    /// `allows8Bit`, and semicolons.
    static func value(_ octets: some Sequence<UInt8>, allows8Bit: Bool = false) -> String {
        let octets = Array(octets)
        if !octets.isEmpty, octets.allSatisfy(Self.isTokenOctet) {
            return String(decoding: octets, as: UTF8.self)
        }
        return Self.quoted(octets.map { $0 == UInt8(ascii: ";") ? 0x3F : $0 }, allows8Bit)
    }

    /// A quoted string (RFC 5322 §3.2.4) in one line.
    static func quoted(_ octets: some Sequence<UInt8>, _ allows8Bit: Bool = false) -> String {
        var text: [UInt8] = [.quote]
        for octet in octets {
            if octet == .quote || octet == .backslash { text.append(.backslash) }
            text.append(Self.isWritable(octet, allows8Bit) ? octet : UInt8(ascii: "?"))
        }
        return String(decoding: text + [.quote], as: UTF8.self)
    }

    /// What may stand within a comment (RFC 5322 §3.2.2).
    static func comment(_ octets: some Sequence<UInt8>, allows8Bit: Bool = false) -> String {
        var text: [UInt8] = []
        for octet in octets {
            if "()\\".utf8.contains(octet) { text.append(.backslash) }
            text.append(Self.isWritable(octet, allows8Bit) ? octet : UInt8(ascii: "?"))
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func isWritable(_ octet: UInt8, _ allows8Bit: Bool) -> Bool {
        octet.isNonASCII ? allows8Bit : !octet.isControl
    }
}
