import Addresses
import Octets

/// Text with macros, as it stands in terms and in explanations (RFC 7208 §7.1).
package struct SPFMacroString: Sendable, Equatable {
    /// What a macro stands for.
    enum Letter: UInt8, Sendable {
        case sender = 0x73  // s
        case local = 0x6C  // l
        case senderDomain = 0x6F  // o
        case domain = 0x64  // d
        case address = 0x69  // i
        case clientName = 0x70  // p
        case version = 0x76  // v
        case hello = 0x68  // h
        case readableAddress = 0x63  // c
        case receiver = 0x72  // r
        case time = 0x74  // t

        var isForExplanations: Bool {
            switch self {
            case .readableAddress, .receiver, .time: true
            default: false
            }
        }
    }

    struct Macro: Sendable, Equatable {
        let letter: Letter
        /// How many parts at the right count; `nil`: all.
        let count: Int?
        let isReversed: Bool
        /// Where the value is split; empty: at dots.
        let delimiters: [UInt8]
        /// Whether what is no unreserved character of RFC 3986 becomes `%XX`.
        let isEscaped: Bool
    }

    enum Part: Sendable, Equatable {
        case text([UInt8])
        /// `%%`, `%_` or `%-`.
        case escape([UInt8])
        case macro(Macro)
    }

    /// Where the text stands.
    enum Place: Sendable {
        /// A domain-spec: ends in a label or a macro (RFC 7208 §7.1).
        case domain
        /// The value of an unknown modifier.
        case modifier
        /// An explanation: spaces, and more macros, are allowed.
        case explanation
    }

    let parts: [Part]

    /// Whether the client's name has to be known.
    var needsClientName: Bool {
        self.parts.contains {
            if case .macro(let macro) = $0 { macro.letter == .clientName } else { false }
        }
    }

    /// Reads the text.
    ///
    /// - Returns: `nil` if it breaks the grammar.
    init?(_ octets: some Collection<UInt8>, in place: Place) {
        var parts: [Part] = []
        var literal: [UInt8] = []
        var rest = Array(octets)[...]
        while let octet = rest.popFirst() {
            guard octet == UInt8(ascii: "%") else {
                let isSpace = octet == .space && place == .explanation
                guard isSpace || (0x21...0x7E).contains(octet) else { return nil }
                literal.append(octet)
                continue
            }
            guard let part = Self.escape(&rest, in: place) else { return nil }
            if !literal.isEmpty { parts.append(.text(literal)) }
            literal = []
            parts.append(part)
        }
        if !literal.isEmpty { parts.append(.text(literal)) }
        self.parts = parts
        if place == .domain, !Self.endsInDomain(parts) { return nil }
    }

    /// What follows a percent sign; takes it off `rest`.
    private static func escape(_ rest: inout ArraySlice<UInt8>, in place: Place) -> Part? {
        switch rest.popFirst() {
        case UInt8(ascii: "%"): return .escape([UInt8(ascii: "%")])
        case UInt8(ascii: "_"): return .escape([.space])
        case UInt8(ascii: "-"): return .escape(Array("%20".utf8))
        case UInt8(ascii: "{"):
            guard let end = rest.firstIndex(of: UInt8(ascii: "}")) else { return nil }
            let macro = rest[..<end]
            rest = rest[(end + 1)...]
            return Self.macro(macro, in: place).map { .macro($0) }

        default: return nil
        }
    }

    /// What stands between the braces.
    private static func macro(_ octets: ArraySlice<UInt8>, in place: Place) -> Macro? {
        var rest = octets
        guard let first = rest.popFirst(), let letter = Letter(rawValue: first.lowerCased),
            place == .explanation || !letter.isForExplanations
        else { return nil }
        let digits = rest.prefix(while: \.isDigit)
        rest = rest.dropFirst(digits.count)
        var count: Int?
        if !digits.isEmpty {
            // More parts than a value can have are all of them.
            let number = digits.reduce(0) { min($0 * 10 + Int($1 - 0x30), 10_000) }
            guard number > 0 else { return nil }
            count = number
        }
        let isReversed = rest.first?.lowerCased == UInt8(ascii: "r")
        if isReversed { rest = rest.dropFirst() }
        guard rest.allSatisfy({ ".-+,/_=".utf8.contains($0) }) else { return nil }
        return Macro(
            letter: letter,
            count: count,
            isReversed: isReversed,
            delimiters: Array(rest),
            isEscaped: first != first.lowerCased
        )
    }

    /// Whether the end is a macro, or a label that can be the last of a name.
    private static func endsInDomain(_ parts: [Part]) -> Bool {
        guard case .text(var octets)? = parts.last else { return !parts.isEmpty }
        if octets.last == .dot { octets.removeLast() }
        guard let dot = octets.lastIndex(of: .dot) else { return false }
        let label = octets[(dot + 1)...]
        guard let first = label.first, let last = label.last else { return false }
        return first.isLetterOrDigit && last.isLetterOrDigit
            && label.allSatisfy { $0.isLetterOrDigit || $0 == .hyphen }
            && !label.allSatisfy(\.isDigit)
    }
}

/// What macros are replaced by.
struct SPFMacroValues: Sendable {
    /// Octets of an explanation that are kept.
    static let maximumOctets = 1_000

    let identity: SPFIdentity
    /// The domain whose record is evaluated.
    let domain: [UInt8]
    /// The name of the client; `nil`: not known.
    let clientName: [UInt8]?

    /// The name that a domain-spec stands for: in lower case, without a dot at the end, shortened to
    /// 253 octets by labels at its left (RFC 7208 §7.3).
    ///
    /// - Returns: `nil` if the DNS can hold no such name.
    func name(of text: SPFMacroString) -> [UInt8]? {
        // From the right, and no more than can count: a record may name the sender a thousand times.
        var octets: [UInt8] = []
        for part in text.parts.reversed() {
            guard let value = self.value(of: part, isQuery: true) else { return nil }
            octets.insert(contentsOf: value, at: 0)
            if octets.count > 2 * SPFNames.maximumOctets { break }
        }
        if octets.last == .dot { octets.removeLast() }
        if octets.count > SPFNames.maximumOctets {
            // One octet more: a dot there is where the name may begin.
            let end = octets.suffix(SPFNames.maximumOctets + 1)
            guard let dot = end.firstIndex(of: .dot) else { return nil }
            octets = Array(end[(dot + 1)...])
        }
        let name = octets.map(\.lowerCased)
        return SPFNames.isQueryable(name) ? name : nil
    }

    /// The words of an explanation: printable ASCII, cut where it is too long.
    func words(of text: SPFMacroString) -> String {
        var octets: [UInt8] = []
        for part in text.parts where octets.count < Self.maximumOctets {
            octets += self.value(of: part, isQuery: false) ?? []
        }
        let printable = octets.prefix(Self.maximumOctets).map {
            (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?")
        }
        return String(decoding: printable, as: UTF8.self)
    }

    private func value(of part: SPFMacroString.Part, isQuery: Bool) -> [UInt8]? {
        switch part {
        case .text(let octets), .escape(let octets): return octets
        case .macro(let macro):
            // RFC 8616 §4: a local part that is not ASCII is in no name.
            if isQuery, macro.letter == .sender || macro.letter == .local,
                self.identity.local.contains(where: \.isNonASCII)
            {
                return nil
            }
            let value = Self.transform(self.value(of: macro.letter), macro)
            return macro.isEscaped ? value.flatMap(Self.escaped) : value
        }
    }

    private func value(of letter: SPFMacroString.Letter) -> [UInt8] {
        switch letter {
        case .sender: self.identity.local + [.at] + self.identity.domain
        case .local: self.identity.local
        case .senderDomain: self.identity.domain
        case .domain: self.domain
        case .address: SPFNames.dotted(self.identity.client)
        case .clientName: self.clientName ?? Array("unknown".utf8)
        case .version: Array((self.identity.client.isIPv6 ? "ip6" : "in-addr").utf8)
        case .hello: self.identity.hello
        case .readableAddress: Array(self.identity.client.description.utf8)
        case .receiver: self.identity.receiver
        case .time: Array(String(self.identity.seconds).utf8)
        }
    }

    private static func transform(_ value: [UInt8], _ macro: SPFMacroString.Macro) -> [UInt8] {
        guard macro.count != nil || macro.isReversed || !macro.delimiters.isEmpty else {
            return value
        }
        let delimiters = macro.delimiters.isEmpty ? [.dot] : macro.delimiters
        var parts = value.split(omittingEmptySubsequences: false) { delimiters.contains($0) }
        if macro.isReversed { parts.reverse() }
        if let count = macro.count { parts = Array(parts.suffix(count)) }
        return Array(parts.joined(separator: [.dot]))
    }

    private static func escaped(_ octet: UInt8) -> [UInt8] {
        if octet.isLetterOrDigit || "-._~".utf8.contains(octet) { return [octet] }
        let digits = Array("0123456789ABCDEF".utf8)
        return [UInt8(ascii: "%"), digits[Int(octet >> 4)], digits[Int(octet & 15)]]
    }
}

/// Names as an evaluation has them: octets with dots between the labels.
package enum SPFNames {
    /// The longest name.
    static let maximumOctets = 253

    /// Whether the DNS can be asked about `name`.
    static func isQueryable(_ name: [UInt8]) -> Bool {
        guard !name.isEmpty, name.count <= Self.maximumOctets else { return false }
        return name.split(separator: .dot, omittingEmptySubsequences: false)
            .allSatisfy { (1...63).contains($0.count) }
    }

    /// Whether `name` is `domain` or stands below it; both in lower case.
    static func isName(_ name: [UInt8], under domain: [UInt8]) -> Bool {
        name == domain || (name.count > domain.count && name.hasSuffix([.dot] + domain))
    }

    /// In lower case and without the dot at the end.
    static func canonical(_ name: [UInt8]) -> [UInt8] {
        (name.last == .dot ? name.dropLast() : name[...]).map(\.lowerCased)
    }

    /// The macro `i`: an IPv4 address as it is, of an IPv6 address each digit (RFC 7208 §7.3).
    static func dotted(_ address: IPAddress) -> [UInt8] {
        guard address.isIPv6 else { return Array(address.description.utf8) }
        let digits = Array("0123456789ABCDEF".utf8)
        let nibbles = address.octets.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return Array(nibbles.map { [$0] }.joined(separator: [.dot]))
    }

    /// The name of an address's PTR records.
    static func reversed(_ address: IPAddress) -> [UInt8] {
        let parts = Self.dotted(address).split(separator: .dot).reversed()
        let zone = Array((address.isIPv6 ? "ip6.arpa" : "in-addr.arpa").utf8)
        return parts.flatMap { $0.map(\.lowerCased) + [.dot] } + zone
    }
}

extension [UInt8] {
    func hasSuffix(_ suffix: [UInt8]) -> Bool {
        self.count >= suffix.count && self.suffix(suffix.count).elementsEqual(suffix)
    }
}
