import Octets

/// An enhanced mail system status code, `class.subject.detail`.
///
/// - Note: RFC 3463 §2: no leading zeros, subject and detail of one to three digits.
package struct EnhancedStatusCode: Hashable, Sendable {
    package let classDigit: UInt8
    package let subject: UInt16
    package let detail: UInt16

    /// `nil` unless RFC 3463 can write it.
    package init?(_ classDigit: Int, _ subject: Int, _ detail: Int) {
        guard [2, 4, 5].contains(classDigit), (0...999).contains(subject),
            (0...999).contains(detail)
        else { return nil }
        self.classDigit = UInt8(classDigit)
        self.subject = UInt16(subject)
        self.detail = UInt16(detail)
    }

    /// Parses `5.7.1`; `nil` if it is not that and nothing else.
    package init?(octets: borrowing Span<UInt8>) {
        var numbers = (0, 0, 0)
        var part = 0
        var digits = 0
        for index in octets.indices {
            let octet = octets[index]
            if octet == .dot {
                guard digits > 0, part < 2 else { return nil }
                part += 1
                digits = 0
                continue
            }
            let isLeadingZero = digits == 1 && Self.value(numbers, part) == 0
            guard octet.isDigit, digits < 3, !isLeadingZero else { return nil }
            let digit = Int(octet &- 0x30)
            switch part {
            case 0: numbers.0 = numbers.0 * 10 + digit
            case 1: numbers.1 = numbers.1 * 10 + digit
            default: numbers.2 = numbers.2 * 10 + digit
            }
            digits += 1
        }
        guard part == 2, digits > 0 else { return nil }
        self.init(numbers.0, numbers.1, numbers.2)
    }

    private static func value(_ numbers: (Int, Int, Int), _ part: Int) -> Int {
        switch part {
        case 0: numbers.0
        case 1: numbers.1
        default: numbers.2
        }
    }

    /// Codes of our own tables, which a test holds valid.
    init(known classDigit: UInt8, _ subject: UInt16, _ detail: UInt16) {
        self.classDigit = classDigit
        self.subject = subject
        self.detail = detail
    }

    /// Says the same as the reply code's first digit; a reply must not contradict itself.
    package func agrees(with code: ReplyCode) -> Bool {
        UInt16(self.classDigit) == code.rawValue / 100
    }
}

extension EnhancedStatusCode: CustomStringConvertible {
    /// As it stands on the wire, for logs.
    package var description: String { "\(self.classDigit).\(self.subject).\(self.detail)" }
}
