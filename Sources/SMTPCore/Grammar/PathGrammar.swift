import Octets

/// Paths: what stands after `FROM:` and `TO:`.
///
/// - Note: RFC 5321 §4.1.2. Source routes are read and dropped (RFC 5321 §4.1.1.3, appendix C).
package enum PathGrammar {
    /// What a listener tolerates.
    package struct Options: OptionSet, Sendable {
        package let rawValue: UInt8

        package init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// `MAIL FROM:a@b`; an empty address still needs its brackets.
        package static let missingBrackets = Self(rawValue: 1 << 0)
        /// `MAIL FROM: <a@b>`, with spaces or TABs.
        package static let spaceAfterColon = Self(rawValue: 1 << 1)
        /// `a@my_host.example`.
        package static let underscoreInDomain = Self(rawValue: 1 << 2)
        /// `a@b.example.`: the dot is dropped.
        package static let trailingDot = Self(rawValue: 1 << 3)
        /// `a..b@c` and `a.@c`.
        package static let dotsInLocalPart = Self(rawValue: 1 << 4)

        /// What an address of any listener may look like, once its command is read.
        package static let anyAddress: Self = [.underscoreInDomain, .trailingDot, .dotsInLocalPart]
    }

    /// Where a mailbox and its parts lie.
    struct MailboxBounds {
        let start: Int
        /// The "@".
        let at: Int
        let end: Int
        /// What follows, behind a trailing dot.
        let next: Int
        let domainKind: Mailbox.DomainKind
    }

    enum Content {
        case null
        case postmaster(Range<Int>)
        case mailbox(MailboxBounds)
    }

    /// Reads the path that begins at `start`.
    ///
    /// - Returns: What it holds, and the offset behind it.
    static func path(
        in octets: borrowing Span<UInt8>,
        at start: Int,
        before end: Int,
        options: Options
    ) throws(PathError) -> (content: Content, end: Int) {
        guard start < end else { throw .syntax }
        guard octets[start] == .less else {
            guard options.contains(.missingBrackets) else { throw .syntax }
            if octets.equals("POSTMASTER", in: start..<min(start + 10, end)),
                start + 10 == end || octets[start + 10] == .space
            {
                return (.postmaster(start..<start + 10), start + 10)
            }
            let bounds = try self.mailbox(in: octets, at: start, before: end, options: options)
            guard bounds.next - start + 2 <= SMTPLimits.pathOctets else { throw .tooLong }
            return (.mailbox(bounds), bounds.next)
        }

        var index = start + 1
        guard index < end else { throw .syntax }
        if octets[index] == .greater { return (.null, index + 1) }
        if octets.hasPrefix("POSTMASTER>", at: index, before: end) {
            return (.postmaster(index..<index + 10), index + 11)
        }
        if octets[index] == .at { index = try self.endOfSourceRoute(octets, index, end, options) }
        let bounds = try self.mailbox(in: octets, at: index, before: end, options: options)
        guard bounds.next < end, octets[bounds.next] == .greater else { throw .syntax }
        guard bounds.next + 1 - start <= SMTPLimits.pathOctets else { throw .tooLong }
        return (.mailbox(bounds), bounds.next + 1)
    }

    /// Reads the mailbox that begins at `start`; the caller checks what follows it.
    static func mailbox(
        in octets: borrowing Span<UInt8>,
        at start: Int,
        before end: Int,
        options: Options
    ) throws(PathError) -> MailboxBounds {
        guard let at = LocalPartGrammar.end(in: octets, at: start, before: end, options: options),
            at < end, octets[at] == .at
        else { throw .syntax }
        guard at - start <= SMTPLimits.localPartOctets else { throw .tooLong }

        let domain = at + 1
        if domain < end, octets[domain] == .openingBracket {
            guard let literal = AddressLiteralGrammar.end(in: octets, at: domain, before: end)
            else { throw .syntax }
            return MailboxBounds(
                start: start,
                at: at,
                end: literal.end,
                next: literal.end,
                domainKind: literal.kind
            )
        }
        guard
            let domainEnd = DomainGrammar.end(in: octets, at: domain, before: end, options: options)
        else { throw .syntax }
        guard domainEnd - domain <= SMTPLimits.domainOctets else { throw .tooLong }
        let hasTrailingDot = domainEnd < end && octets[domainEnd] == .dot
        return MailboxBounds(
            start: start,
            at: at,
            end: domainEnd,
            next: hasTrailingDot ? domainEnd + 1 : domainEnd,
            domainKind: .name
        )
    }

    /// `@one,@two:`, whose octets are of no further use.
    private static func endOfSourceRoute(
        _ octets: borrowing Span<UInt8>,
        _ start: Int,
        _ end: Int,
        _ options: Options
    ) throws(PathError) -> Int {
        var index = start
        while index < end, octets[index] == .at {
            guard
                let domainEnd = DomainGrammar.end(
                    in: octets,
                    at: index + 1,
                    before: end,
                    options: options.subtracting(.trailingDot)
                ),
                domainEnd < end
            else { throw .syntax }
            if octets[domainEnd] == .colon { return domainEnd + 1 }
            guard octets[domainEnd] == UInt8(ascii: ",") else { throw .syntax }
            index = domainEnd + 1
        }
        throw .syntax
    }
}

/// Why a path was refused.
package enum PathError: Error, Equatable {
    /// Not what RFC 5321 §4.1.2 describes.
    case syntax
    /// Over a limit of RFC 5321 §4.5.3.1.1 to §4.5.3.1.3.
    case tooLong
}
