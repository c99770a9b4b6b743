import Octets

/// The parameters of MAIL or RCPT, as the client wrote them.
///
/// - Note: RFC 5321 §4.1.2 (`Mail-parameters`, `Rcpt-parameters`).
package struct SMTPParameters: Hashable, Sendable {
    /// Everything behind the path, without the spaces around it; empty if there is none.
    package let octets: [UInt8]

    package static let none = Self(octets: [])

    /// Whether there is no parameter.
    package var isEmpty: Bool { self.octets.isEmpty }

    /// Keyword and value of each, in order; the value is `nil` where no "=" stands.
    package var entries: [(keyword: ArraySlice<UInt8>, value: ArraySlice<UInt8>?)] {
        self.octets.split(separator: .space).map { part in
            guard let equals = part.firstIndex(of: .equals) else { return (part, nil) }
            return (part[..<equals], part[(equals + 1)...])
        }
    }
}

/// The parameters of MAIL that we know.
package struct MailParameters: Hashable, Sendable {
    /// All of them, for policy.
    package var all: SMTPParameters = .none
    /// SIZE: what the client thinks the message measures, in octets.
    ///
    /// RFC 1870 §6.
    package var declaredSize: Int?
    /// BODY.
    ///
    /// `nil` if the client did not say. RFC 6152 §3.
    package var body: Body?
    /// SMTPUTF8.
    ///
    /// RFC 6531 §3.4.
    package var isSMTPUTF8 = false
    /// REQUIRETLS: the message must not go over a connection without TLS.
    ///
    /// RFC 8689 §2.
    package var requiresTLS = false
    /// PRDR: the client wants a reply for each recipient where they differ.
    ///
    /// draft-hall-prdr-00.
    package var isPRDR = false
    /// HOLDFOR or HOLDUNTIL: the message must not be released before; `nil` if the client said neither.
    ///
    /// RFC 4865 §3.
    package var futureRelease: FutureRelease?

    package enum Body: Hashable, Sendable {
        case sevenBit
        case eightBitMIME
        /// RFC 3030 §3.
        case binaryMIME
    }

    package init() {}
}

/// Why parameters were refused.
enum ParameterError: Error, Equatable {
    /// A keyword or value that the grammar does not allow: 501.
    case syntax
    /// A keyword that we do not offer: 555.
    case unknown
    case repeated
    /// SIZE beyond what an integer or the server holds: 552.
    case tooBig
}

/// What becomes of the parameter AUTH of MAIL.
enum AuthParameter {
    /// It is refused as any that we do not know.
    case unknown
    /// AUTH is offered: its value is xtext (RFC 4954 §5).
    case xtext
    /// The listener takes what devices write there.
    case anyText
}

/// Reads parameters off a command line.
enum ParameterGrammar {
    /// Reads the parameters of MAIL in `range`, which begins with a space unless it is empty.
    ///
    /// `auth` says what becomes of AUTH.
    static func mail(
        in octets: borrowing Span<UInt8>,
        _ range: Range<Int>,
        offered: SMTPExtensions,
        auth: AuthParameter
    ) throws(ParameterError) -> MailParameters {
        var parameters = MailParameters()
        var hasAuth = false
        var (hasReturn, hasEnvelopeID, hasPriority) = (false, false, false)
        var index = range.lowerBound
        while let next = try self.next(octets, &index, range.upperBound) {
            if octets.equals("SIZE", in: next.keyword), offered.contains(.size) {
                guard parameters.declaredSize == nil else { throw .repeated }
                parameters.declaredSize = try self.size(octets, next.value)
            } else if octets.equals("BODY", in: next.keyword), offered.contains(.eightBitMIME) {
                guard parameters.body == nil else { throw .repeated }
                parameters.body = try self.body(octets, next.value, offered)
            } else if octets.equals("SMTPUTF8", in: next.keyword), offered.contains(.smtpUTF8) {
                guard !parameters.isSMTPUTF8 else { throw .repeated }
                guard next.value == nil else { throw .syntax }
                parameters.isSMTPUTF8 = true
            } else if octets.equals("RET", in: next.keyword), offered.contains(.dsn) {
                guard !hasReturn else { throw .repeated }
                guard DSNGrammar.isReturn(octets, next.value) else { throw .syntax }
                hasReturn = true
            } else if octets.equals("ENVID", in: next.keyword), offered.contains(.dsn) {
                guard !hasEnvelopeID else { throw .repeated }
                guard DSNGrammar.isEnvelopeID(octets, next.value) else { throw .syntax }
                hasEnvelopeID = true
            } else if octets.equals("REQUIRETLS", in: next.keyword), offered.contains(.requireTLS) {
                guard !parameters.requiresTLS else { throw .repeated }
                guard next.value == nil else { throw .syntax }
                parameters.requiresTLS = true
            } else if octets.equals("PRDR", in: next.keyword), offered.contains(.prdr) {
                guard !parameters.isPRDR else { throw .repeated }
                guard next.value == nil else { throw .syntax }
                parameters.isPRDR = true
            } else if octets.equals("MT-PRIORITY", in: next.keyword), offered.contains(.priority) {
                guard !hasPriority else { throw .repeated }
                guard self.isPriority(octets, next.value) else { throw .syntax }
                hasPriority = true
            } else if offered.contains(.futureRelease),
                let wish = try self.futureRelease(octets, next)
            {
                // One of them, once (RFC 4865).
                guard parameters.futureRelease == nil else { throw .repeated }
                parameters.futureRelease = wish
            } else if octets.equals("AUTH", in: next.keyword), auth != .unknown {
                // The client names the author of the message (RFC 4954 §5): shown to policy, not relied on.
                guard !hasAuth else { throw .repeated }
                guard let value = next.value, auth == .anyText || XText.stands(in: octets, value)
                else { throw .syntax }
                hasAuth = true
            } else {
                throw .unknown
            }
        }
        parameters.all = self.all(octets, range)
        return parameters
    }

    /// Reads the parameters of RCPT in `range`: NOTIFY and ORCPT, if DSN is offered.
    static func recipient(
        in octets: borrowing Span<UInt8>,
        _ range: Range<Int>,
        offered: SMTPExtensions
    ) throws(ParameterError) -> SMTPParameters {
        var (hasNotify, hasOriginal) = (false, false)
        var index = range.lowerBound
        while let next = try self.next(octets, &index, range.upperBound) {
            guard offered.contains(.dsn) else { throw .unknown }
            if octets.equals("NOTIFY", in: next.keyword) {
                guard !hasNotify else { throw .repeated }
                guard DSNGrammar.isNotify(octets, next.value) else { throw .syntax }
                hasNotify = true
            } else if octets.equals("ORCPT", in: next.keyword) {
                guard !hasOriginal else { throw .repeated }
                guard DSNGrammar.isOriginalRecipient(octets, next.value) else { throw .syntax }
                hasOriginal = true
            } else {
                throw .unknown
            }
        }
        return self.all(octets, range)
    }

    private static func all(
        _ octets: borrowing Span<UInt8>,
        _ range: Range<Int>
    ) -> SMTPParameters {
        var start = range.lowerBound
        while start < range.upperBound, octets[start] == .space { start += 1 }
        guard start < range.upperBound else { return .none }
        return SMTPParameters(octets: octets.octets(start..<range.upperBound))
    }

    private struct Entry: Equatable {
        let keyword: Range<Int>
        let value: Range<Int>?
    }

    /// Reads one parameter and the spaces before it.
    private static func next(
        _ octets: borrowing Span<UInt8>,
        _ index: inout Int,
        _ end: Int
    ) throws(ParameterError) -> Entry? {
        guard index < end else { return nil }
        guard octets[index] == .space else { throw .syntax }
        while index < end, octets[index] == .space { index += 1 }
        guard index < end else { return nil }

        let start = index
        while index < end, self.isKeyword(octets[index], isFirst: index == start) { index += 1 }
        let keyword = start..<index
        guard !keyword.isEmpty else { throw .syntax }
        guard index < end, octets[index] == .equals else {
            guard index == end || octets[index] == .space else { throw .syntax }
            return Entry(keyword: keyword, value: nil)
        }
        index += 1
        let valueStart = index
        while index < end, octets[index] != .space {
            guard self.isValue(octets[index]) else { throw .syntax }
            index += 1
        }
        guard index > valueStart, octets.isUTF8(from: valueStart, to: index) else { throw .syntax }
        return Entry(keyword: keyword, value: valueStart..<index)
    }

    /// The value of HOLDFOR or HOLDUNTIL; `nil` for another keyword.
    private static func futureRelease(
        _ octets: borrowing Span<UInt8>,
        _ entry: Entry
    ) throws(ParameterError) -> FutureRelease? {
        let isInterval = octets.equals("HOLDFOR", in: entry.keyword)
        guard isInterval || octets.equals("HOLDUNTIL", in: entry.keyword) else { return nil }
        let value = entry.value.map { octets.octets($0) } ?? []
        let wish =
            isInterval ? FutureReleaseGrammar.interval(value) : FutureReleaseGrammar.dateTime(value)
        guard let wish else { throw .syntax }
        return wish
    }

    /// -9 to 9, without a zero in front (RFC 6710 §3).
    private static func isPriority(_ octets: borrowing Span<UInt8>, _ value: Range<Int>?) -> Bool {
        guard let value, let last = value.last else { return false }
        switch value.count {
        case 1: return octets[last].isDigit
        case 2: return octets[value.lowerBound] == .hyphen && 0x31...0x39 ~= octets[last]
        default: return false
        }
    }

    private static func isKeyword(_ octet: UInt8, isFirst: Bool) -> Bool {
        octet.isLetterOrDigit || (!isFirst && octet == .hyphen)
    }

    /// Any octet but controls, space and "="; beyond ASCII by RFC 6531 §3.3.
    private static func isValue(_ octet: UInt8) -> Bool {
        octet > .space && octet != .equals && octet != .delete
    }

    /// One to twenty digits.
    ///
    /// RFC 1870 §4.
    private static func size(
        _ octets: borrowing Span<UInt8>,
        _ value: Range<Int>?
    ) throws(ParameterError) -> Int {
        guard let value, value.count <= SMTPLimits.sizeDigits else { throw .syntax }
        for index in value {
            guard octets[index].isDigit else { throw .syntax }
        }
        var size = 0
        for index in value {
            let (product, isOver) = size.multipliedReportingOverflow(by: 10)
            let (sum, isOverToo) = product.addingReportingOverflow(Int(octets[index] &- 0x30))
            guard !isOver, !isOverToo else { throw .tooBig }
            size = sum
        }
        return size
    }

    private static func body(
        _ octets: borrowing Span<UInt8>,
        _ value: Range<Int>?,
        _ offered: SMTPExtensions
    ) throws(ParameterError) -> MailParameters.Body {
        guard let value else { throw .syntax }
        if octets.equals("7BIT", in: value) { return .sevenBit }
        if octets.equals("8BITMIME", in: value) { return .eightBitMIME }
        if octets.equals("BINARYMIME", in: value),
            offered.isSuperset(of: [.chunking, .binaryMIME])
        {
            return .binaryMIME
        }
        throw .syntax
    }
}
