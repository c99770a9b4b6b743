package import DomainNames
import Octets

/// The domains of the addresses in a From field.
///
/// Read generously, so that what a mail program may show as an address is found: comments, quoted strings, routes
/// (RFC 5322 §4.4) and groups (RFC 6854) are understood, and an address outside of its angle brackets counts, unless it
/// stands in the name before them. The work is in proportion to the octets.
package struct AuthorDomains: Sendable, Equatable {
    /// The most domains that are told apart.
    package static let maximumCount = 64

    /// The domains, each once, in order.
    package private(set) var domains: [DNSName] = []
    /// The addresses whose domain is no name: a literal, or octets that the DNS does not have.
    package private(set) var unreadable = 0

    private enum Token: Equatable {
        case word([UInt8])
        case quoted
        case literal
        case special(UInt8)
    }

    /// Reads the value of a field, folded or not.
    package init(_ value: [UInt8]) {
        var name: [Token] = []
        var angle: [Token]?
        func isAddress(_ tokens: [Token]) -> Bool { tokens.contains(.special(.at)) }
        var hadAngle = false
        for token in Self.tokens(value) {
            switch token {
            case .special(.less) where angle == nil:
                angle = []
                // What stands between two addresses in brackets is not a name alone.
                if hadAngle { self.take(name) }
                name = []

            case .special(.greater) where angle != nil:
                self.take(angle ?? [])
                angle = nil
                hadAngle = true

            case .special(UInt8(ascii: ":")):
                // A route before an address, or the name of a group.
                if angle != nil { angle = [] } else { name = [] }

            case .special(UInt8(ascii: ",")), .special(UInt8(ascii: ";")):
                // In brackets a comma belongs to a route, which a colon ends.
                if angle != nil {
                    angle?.append(token)
                } else {
                    self.take(name)
                    name = []
                    hadAngle = false
                }

            default:
                if angle != nil { angle?.append(token) } else { name.append(token) }
            }
        }
        if let angle { self.take(angle) }
        self.take(name)
    }

    /// Takes each domain that stands behind an "@".
    private mutating func take(_ tokens: [Token]) {
        var index = 0
        while index < tokens.count {
            guard tokens[index] == .special(.at) else {
                index += 1
                continue
            }
            index += 1
            var domain: [UInt8] = []
            var isLiteral = false
            scanning: while index < tokens.count {
                switch tokens[index] {
                case .word(let octets) where domain.isEmpty || domain.last == .dot: domain += octets
                case .special(.dot) where !domain.isEmpty: domain.append(.dot)
                case .literal where domain.isEmpty:
                    isLiteral = true
                    index += 1
                    break scanning

                default: break scanning
                }
                index += 1
            }
            self.add(domain, isLiteral: isLiteral)
        }
    }

    private mutating func add(_ octets: [UInt8], isLiteral: Bool) {
        guard !isLiteral, let domain = DNSName(octets: octets), !domain.isRoot else {
            self.unreadable += 1
            return
        }
        guard !self.domains.contains(domain), self.domains.count < Self.maximumCount else { return }
        self.domains.append(domain)
    }

    /// The words of a field, without comments and white space.
    ///
    /// A quotation mark or bracket that nothing closes is passed over: what follows it may be an address.
    private static func tokens(_ value: [UInt8]) -> [Token] {
        var tokens: [Token] = []
        var unclosed: Set<UInt8> = []
        var index = 0
        while index < value.count {
            let octet = value[index]
            switch octet {
            case .quote, .openingBracket, UInt8(ascii: "("):
                let end = unclosed.contains(octet) ? nil : self.end(of: octet, value, index)
                if end == nil { unclosed.insert(octet) }
                index = end ?? index + 1
                guard end != nil else { continue }
                if octet == .quote { tokens.append(.quoted) }
                if octet == .openingBracket { tokens.append(.literal) }

            case .space, .tab, .carriageReturn, .lineFeed, .nul: index += 1
            case _ where self.isSpecial(octet):
                tokens.append(.special(octet))
                index += 1

            default:
                let start = index
                while index < value.count, !self.endsWord(value[index]) { index += 1 }
                tokens.append(.word(Array(value[start..<index])))
            }
        }
        return tokens
    }

    private static func isSpecial(_ octet: UInt8) -> Bool {
        switch octet {
        case .less, .greater, .closingBracket, .at, .dot, .backslash, UInt8(ascii: ":"),
            UInt8(ascii: ";"),
            UInt8(ascii: ","), UInt8(ascii: ")"):
            true
        default: false
        }
    }

    private static func endsWord(_ octet: UInt8) -> Bool {
        switch octet {
        case .space, .tab, .carriageReturn, .lineFeed, .nul, .quote, .openingBracket,
            UInt8(ascii: "("):
            true
        default: self.isSpecial(octet)
        }
    }

    /// The index behind what closes the octet at `start`; `nil` if nothing does.
    private static func end(of opening: UInt8, _ value: [UInt8], _ start: Int) -> Int? {
        let closing: UInt8 =
            switch opening {
            case .quote: .quote
            case .openingBracket: .closingBracket
            default: UInt8(ascii: ")")
            }
        var depth = 1
        var index = start + 1
        while index < value.count {
            switch value[index] {
            case .backslash: index += 1
            case closing:
                depth -= 1
                if depth == 0 { return index + 1 }

            // Of the three, comments alone nest.
            case UInt8(ascii: "(") where opening == UInt8(ascii: "("): depth += 1
            default: break
            }
            index += 1
        }
        return nil
    }
}
