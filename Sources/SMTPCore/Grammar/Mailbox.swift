import Octets

/// A mailbox, `local-part@domain`, as the client wrote it.
///
/// The octets are kept untouched, quotes and letter case included; source route, brackets and a
/// trailing dot are gone. A value of this type has passed the whole grammar.
///
/// - Note: RFC 5321 §4.1.2, §4.1.3; RFC 6531 §3.3.
package struct Mailbox: Hashable, Sendable {
    /// The whole address.
    package let octets: [UInt8]
    /// Octets of the local-part, its quotes included; the "@" stands at this offset.
    package let localPartCount: Int
    /// What stands behind the "@".
    package let domainKind: DomainKind
    /// Whether SMTPUTF8 is needed to carry it.
    package let isNonASCII: Bool

    package enum DomainKind: Hashable, Sendable {
        case name
        case ipv4
        case ipv6
        /// A literal with a tag that we do not know.
        case general
    }

    /// As written, with its quotes.
    package var localPart: ArraySlice<UInt8> { self.octets[..<self.localPartCount] }

    /// As written; a literal with its brackets.
    package var domain: ArraySlice<UInt8> { self.octets[(self.localPartCount + 1)...] }

    /// The local-part without quotes and backslashes, to compare it.
    ///
    /// `"joe"` and `joe` name the same mailbox (RFC 5321 §4.1.2).
    package var canonicalLocalPart: [UInt8] {
        guard self.localPart.first == .quote else { return [UInt8](self.localPart) }
        var result: [UInt8] = []
        var isEscaped = false
        for octet in self.localPart.dropFirst().dropLast() {
            isEscaped = !isEscaped && octet == .backslash
            if !isEscaped { result.append(octet) }
        }
        return result
    }

    /// Parses an address that is a mailbox and nothing else, without brackets.
    ///
    /// For addresses that come from workers and files.
    package init(address: [UInt8], options: PathGrammar.Options = []) throws(PathError) {
        let span = address.span
        let bounds = try PathGrammar.mailbox(in: span, at: 0, before: span.count, options: options)
        guard bounds.next == span.count else { throw .syntax }
        self.init(span, bounds)
    }

    init(_ octets: borrowing Span<UInt8>, _ bounds: PathGrammar.MailboxBounds) {
        self.octets = octets.octets(bounds.start..<bounds.end)
        self.localPartCount = bounds.at - bounds.start
        self.domainKind = bounds.domainKind
        self.isNonASCII = self.octets.contains(where: \.isNonASCII)
    }
}
