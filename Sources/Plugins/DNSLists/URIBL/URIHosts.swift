import Octets
import PolicyKit

/// The hosts that a text names, in URIs and outside of them.
///
/// Read as mail programs do that make links of what only looks like one: percent signs are decoded, and in HTML numeric
/// characters. The work is in proportion to the octets.
struct URIHosts {
    /// A host.
    enum Host: Hashable {
        case name(DNSName)
        case address(IPAddress)
    }

    /// The most hosts that are told apart.
    static let maximumCount = 1_000

    /// The hosts of URIs, each once, in order.
    private(set) var inURIs: [Host] = []
    /// Names outside of URIs that a mail program may make links of; some of the others are among them.
    private(set) var bare: [Host] = []

    private var seen: Set<Host> = []
    private var seenBare: Set<Host> = []

    /// Reads a text; a second one adds to the first.
    ///
    /// - Parameters:
    ///   - text: Octets in UTF-8 or a character set that has ASCII.
    ///   - isHTML: Whether numeric characters stand for others.
    mutating func read(_ text: [UInt8], isHTML: Bool) {
        let decoded = Self.percentDecoded(isHTML ? Self.characters(text) : text)
        self.readURIs(decoded)
        self.readNames(decoded)
    }

    // MARK: URIs

    /// Finds `scheme:/` and what stands between it and the path.
    private mutating func readURIs(_ text: [UInt8]) {
        var index = 0
        while let colon = text[index...].firstIndex(of: .colon) {
            index = colon + 1
            let scheme = text[..<colon].suffix(16).reversed().prefix { $0.isLetterOrDigit }
            guard scheme.count >= 3, index < text.count, Self.isSlash(text[index]) else { continue }
            while index < text.count, Self.isSlash(text[index]) { index += 1 }
            let start = index
            while index < text.count, index - start < 1_000, !Self.endsAuthority(text[index]) {
                index += 1
            }
            self.take(authority: text[start..<index])
            index = start
        }
    }

    private static func isSlash(_ octet: UInt8) -> Bool {
        octet == UInt8(ascii: "/") || octet == .backslash
    }

    private static func endsAuthority(_ octet: UInt8) -> Bool {
        switch octet {
        case .quote, .less, .greater, UInt8(ascii: "/"), .backslash, UInt8(ascii: "?"),
            UInt8(ascii: "#"),
            UInt8(ascii: "'"), UInt8(ascii: ")"), UInt8(ascii: ","), UInt8(ascii: ";"):
            true
        default: octet <= .space || octet == .delete
        }
    }

    private mutating func take(authority: ArraySlice<UInt8>) {
        let host = authority.lastIndex(of: .at).map { authority[($0 + 1)...] } ?? authority
        if host.first == .openingBracket {
            let inside = host.dropFirst().prefix { $0 != .closingBracket }
            if let address = IPAddress(parsing: String(decoding: inside, as: UTF8.self)) {
                self.add(.address(address), isBare: false)
            }
            return
        }
        let name = Self.trimmed(host.prefix { $0 != .colon })
        if let address = Self.address(name) {
            self.add(.address(address), isBare: false)
        } else if name.contains(.dot), let name = DNSName(octets: Array(name)) {
            self.add(.name(name), isBare: false)
        }
    }

    /// Without what a sentence ends with.
    private static func trimmed(_ name: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var name = name.drop { $0 == .dot || $0 == .hyphen }
        while let last = name.last, !last.isLetterOrDigit, !last.isNonASCII { name.removeLast() }
        return name
    }

    /// The address that browsers take a host for: four numbers or one, decimal, octal or hexadecimal.
    private static func address(_ host: ArraySlice<UInt8>) -> IPAddress? {
        let parts = host.split(separator: .dot, omittingEmptySubsequences: false)
        let numbers = parts.compactMap { self.number($0) }
        guard numbers.count == parts.count else { return nil }
        switch numbers.count {
        case 1 where host.count >= 7: return UInt32(exactly: numbers[0]).map { IPAddress(ipv4: $0) }
        case 4 where numbers.allSatisfy({ $0 <= 255 }):
            return IPAddress(ipv4: numbers.reduce(0) { $0 << 8 | UInt32(truncatingIfNeeded: $1) })

        default: return nil
        }
    }

    private static func number(_ octets: ArraySlice<UInt8>) -> UInt64? {
        let text = String(decoding: octets, as: UTF8.self).lowercased()
        guard (1...16).contains(text.utf8.count), octets.first?.isDigit == true else { return nil }
        if text.hasPrefix("0x") { return UInt64(text.dropFirst(2), radix: 16) }
        if text.hasPrefix("0"), text.utf8.count > 1, let octal = UInt64(text, radix: 8) {
            return octal
        }
        return UInt64(text)
    }

    // MARK: Names

    /// Finds runs of what names are made of, with a dot in them.
    private mutating func readNames(_ text: [UInt8]) {
        var index = 0
        while index < text.count {
            guard Self.isName(text[index]) else {
                index += 1
                continue
            }
            let start = index
            while index < text.count, Self.isName(text[index]) { index += 1 }
            let name = Self.trimmed(text[start..<index])
            guard name.count <= DNSName.maximumOctets, name.contains(.dot),
                name.last?.isDigit == false, let found = DNSName(octets: Array(name))
            else { continue }
            self.add(.name(found), isBare: true)
        }
    }

    private static func isName(_ octet: UInt8) -> Bool {
        octet.isLetterOrDigit || octet == .dot || octet == .hyphen || octet == UInt8(ascii: "_")
    }

    private mutating func add(_ host: Host, isBare: Bool) {
        if isBare {
            guard self.bare.count < Self.maximumCount, self.seenBare.insert(host).inserted else {
                return
            }
            self.bare.append(host)
        } else {
            guard self.inURIs.count < Self.maximumCount, self.seen.insert(host).inserted else {
                return
            }
            self.inURIs.append(host)
        }
    }

    // MARK: Decoding

    /// `%2e` is a dot.
    private static func percentDecoded(_ text: [UInt8]) -> [UInt8] {
        guard text.contains(UInt8(ascii: "%")) else { return text }
        var decoded: [UInt8] = []
        decoded.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            if text[index] == UInt8(ascii: "%"), index + 2 < text.count,
                let high = text[index + 1].hexDigitValue, let low = text[index + 2].hexDigitValue
            {
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(text[index])
                index += 1
            }
        }
        return decoded
    }

    /// `&#46;`, `&#x2e;` and `&period;` are a dot, and so on for ASCII.
    private static func characters(_ text: [UInt8]) -> [UInt8] {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            if text[index] == UInt8(ascii: "&"), let (octet, end) = self.character(text, index) {
                decoded.append(octet)
                index = end
            } else {
                decoded.append(text[index])
                index += 1
            }
        }
        return decoded
    }

    private static let named: [String: UInt8] = [
        "amp": UInt8(ascii: "&"), "period": .dot, "colon": .colon, "sol": UInt8(ascii: "/"),
        "commat": .at, "percnt": UInt8(ascii: "%"), "lowbar": UInt8(ascii: "_"),
    ]

    private static func character(_ text: [UInt8], _ start: Int) -> (octet: UInt8, end: Int)? {
        let word = text[(start + 1)...].prefix(10).prefix {
            $0.isLetterOrDigit || $0 == UInt8(ascii: "#")
        }
        let name = String(decoding: word, as: UTF8.self).lowercased()
        let value: UInt32?
        if name.hasPrefix("#x") {
            value = UInt32(name.dropFirst(2), radix: 16)
        } else if name.hasPrefix("#") {
            value = UInt32(name.dropFirst())
        } else {
            value = self.named[name].map { UInt32($0) }
        }
        guard let value, (0x21...0x7E).contains(value) else { return nil }
        let end = word.endIndex
        let hasEnd = end < text.count && text[end] == UInt8(ascii: ";")
        return (UInt8(truncatingIfNeeded: value), hasEnd ? end + 1 : end)
    }
}
