import Addresses
import Octets

/// What a directive's match means (RFC 7208 §4.6.2).
enum SPFQualifier: Sendable, Equatable {
    case pass
    case fail
    case softfail
    case neutral

    init?(_ octet: UInt8) {
        switch octet {
        case UInt8(ascii: "+"): self = .pass
        case UInt8(ascii: "-"): self = .fail
        case UInt8(ascii: "~"): self = .softfail
        case UInt8(ascii: "?"): self = .neutral
        default: return nil
        }
    }

    var result: SPFResult {
        switch self {
        case .pass: .pass
        case .fail: .fail
        case .softfail: .softfail
        case .neutral: .neutral
        }
    }
}

/// How many bits of an address have to be the same.
struct SPFPrefixLengths: Sendable, Equatable {
    var ipv4 = 32
    var ipv6 = 128

    /// Whether `client` lies in the network of `address`.
    func contains(_ client: IPAddress, near address: IPAddress) -> Bool {
        let length = address.isIPv6 ? self.ipv6 : self.ipv4
        return IPNetwork(address, prefixLength: length)?.contains(client) ?? false
    }
}

/// What a directive looks at (RFC 7208 §5).
///
/// A domain that is `nil` is the one whose record it is.
enum SPFMechanism: Sendable, Equatable {
    case all
    case include(SPFMacroString)
    case a(SPFMacroString?, SPFPrefixLengths)
    case mx(SPFMacroString?, SPFPrefixLengths)
    case ptr(SPFMacroString?)
    case network(IPNetwork)
    case exists(SPFMacroString)

    /// The domain that is written there.
    var domain: SPFMacroString? {
        switch self {
        case .all, .network: nil
        case .include(let domain), .exists(let domain): domain
        case .a(let domain, _), .mx(let domain, _), .ptr(let domain): domain
        }
    }
}

struct SPFDirective: Sendable, Equatable {
    let qualifier: SPFQualifier
    let mechanism: SPFMechanism
    /// As it is written, without the qualifier: visible ASCII, the first 255 octets.
    let text: String
}

/// Why a record cannot be used.
package struct SPFSyntaxError: Error, Sendable, Equatable, CustomStringConvertible {
    package let description: String
}

/// A record, read as a whole before anything of it counts (RFC 7208 §4.6).
package struct SPFRecord: Sendable, Equatable {
    /// The most octets of ``SPFDirective/text``: a record may have 65,000, and the text goes into a header field.
    private static let maximumDirectiveText = 255

    private(set) var directives: [SPFDirective] = []
    private(set) var redirect: SPFMacroString?
    private(set) var explanation: SPFMacroString?

    /// Whether a TXT record says that it is one of SPF's (RFC 7208 §4.5).
    package static func isRecord(_ text: [UInt8]) -> Bool {
        let version = Array("v=spf1".utf8)
        return text.prefix(version.count).map(\.lowerCased) == version
            && (text.count == version.count || text[version.count] == .space)
    }

    /// Reads a record that ``isRecord(_:)`` named one.
    ///
    /// - Throws: ``SPFSyntaxError`` with the first term that breaks the grammar.
    package init(_ text: [UInt8]) throws(SPFSyntaxError) {
        for term in text.dropFirst(6).split(separator: .space) {
            guard self.take(term) else {
                let start = term.prefix(60).map { (0x21...0x7E).contains($0) ? $0 : 0x3F }
                throw SPFSyntaxError(
                    description: "cannot read \(String(decoding: start, as: UTF8.self))"
                )
            }
        }
    }

    /// - Returns: False if the term breaks the grammar.
    private mutating func take(_ term: ArraySlice<UInt8>) -> Bool {
        let name = term.prefix { $0.isLetterOrDigit || "-_.".utf8.contains($0) }
        if term.first?.isLetter == true, term.dropFirst(name.count).first == .equals {
            return self.takeModifier(name.map(\.lowerCased), term.dropFirst(name.count + 1))
        }
        guard let directive = Self.directive(term) else { return false }
        self.directives.append(directive)
        return true
    }

    private mutating func takeModifier(_ name: [UInt8], _ value: ArraySlice<UInt8>) -> Bool {
        switch name {
        case Array("redirect".utf8):
            guard self.redirect == nil else { return false }
            self.redirect = SPFMacroString(value, in: .domain)
            return self.redirect != nil

        case Array("exp".utf8):
            guard self.explanation == nil else { return false }
            self.explanation = SPFMacroString(value, in: .domain)
            return self.explanation != nil

        default: return SPFMacroString(value, in: .modifier) != nil
        }
    }

    private static func directive(_ term: ArraySlice<UInt8>) -> SPFDirective? {
        var rest = term
        let qualifier = rest.first.flatMap { SPFQualifier($0) }
        if qualifier != nil { rest = rest.dropFirst() }
        let name = rest.prefix(while: \.isLetterOrDigit).map(\.lowerCased)
        let value = rest.dropFirst(name.count)
        guard let mechanism = Self.mechanism(String(decoding: name, as: UTF8.self), value) else {
            return nil
        }
        return SPFDirective(
            qualifier: qualifier ?? .pass,
            mechanism: mechanism,
            text: String(decoding: rest.prefix(Self.maximumDirectiveText), as: UTF8.self)
        )
    }

    /// `value` is what follows the name, a colon or slash included.
    private static func mechanism(_ name: String, _ value: ArraySlice<UInt8>) -> SPFMechanism? {
        let argument = value.first == .colon ? value.dropFirst() : nil
        switch name {
        case "all": return value.isEmpty ? .all : nil
        case "include":
            return argument.flatMap { SPFMacroString($0, in: .domain) }.map { .include($0) }

        case "exists":
            return argument.flatMap { SPFMacroString($0, in: .domain) }.map { .exists($0) }

        case "ptr":
            if value.isEmpty { return .ptr(nil) }
            return argument.flatMap { SPFMacroString($0, in: .domain) }.map { .ptr($0) }

        case "ip4": return argument.flatMap { Self.network($0, isIPv6: false) }
        case "ip6": return argument.flatMap { Self.network($0, isIPv6: true) }
        case "a": return Self.domainAndLengths(value).map { .a($0, $1) }
        case "mx": return Self.domainAndLengths(value).map { .mx($0, $1) }
        default: return nil
        }
    }

    private static func network(_ value: ArraySlice<UInt8>, isIPv6: Bool) -> SPFMechanism? {
        let parts = value.split(
            separator: UInt8(ascii: "/"),
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        guard let text = parts.first.map({ String(decoding: $0, as: UTF8.self) }),
            let address = IPAddress(parsing: text, mapped: .keep), address.isIPv6 == isIPv6
        else { return nil }
        var length = isIPv6 ? 128 : 32
        if parts.count > 1 {
            guard let number = Self.number(parts[1], to: length) else { return nil }
            length = number
        }
        return IPNetwork(address, prefixLength: length).map { .network($0) }
    }

    /// `[ ":" domain-spec ] [ "/" length ] [ "//" length ]`.
    ///
    /// - Returns: `nil` if it is something else.
    private static func domainAndLengths(
        _ value: ArraySlice<UInt8>
    ) -> (SPFMacroString?, SPFPrefixLengths)? {
        var lengths = SPFPrefixLengths()
        var rest = value
        let slash = UInt8(ascii: "/")
        // From the right, since a domain may have slashes itself.
        if let (before, digits) = Self.digitsAtEnd(of: rest), before.last == slash,
            before.dropLast().last == slash
        {
            guard let number = Self.number(digits, to: 128) else { return nil }
            lengths.ipv6 = number
            rest = before.dropLast(2)
        }
        if let (before, digits) = Self.digitsAtEnd(of: rest), before.last == slash,
            before.dropLast().last != slash
        {
            guard let number = Self.number(digits, to: 32) else { return nil }
            lengths.ipv4 = number
            rest = before.dropLast()
        }
        if rest.isEmpty { return (nil, lengths) }
        guard rest.first == .colon, let domain = SPFMacroString(rest.dropFirst(), in: .domain)
        else { return nil }
        return (domain, lengths)
    }

    private static func digitsAtEnd(
        of octets: ArraySlice<UInt8>
    ) -> (before: ArraySlice<UInt8>, digits: ArraySlice<UInt8>)? {
        let digits = octets.suffix(octets.reversed().prefix(while: \.isDigit).count)
        return digits.isEmpty ? nil : (octets.dropLast(digits.count), digits)
    }

    /// A length without leading zeros, at most `limit`.
    private static func number(_ digits: ArraySlice<UInt8>, to limit: Int) -> Int? {
        guard (1...3).contains(digits.count), digits.allSatisfy(\.isDigit),
            digits.count == 1 || digits.first != 0x30
        else { return nil }
        let number = digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        return number <= limit ? number : nil
    }
}
