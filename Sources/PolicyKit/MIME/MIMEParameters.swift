import Octets

/// A word and its parameters: `text/plain; charset=utf-8`.
///
/// - Note: RFC 2045 §5.1; RFC 2231 (parts of a parameter, character sets); and, against RFC 2047 §5,
///   encoded words within a value, because many mailers write file names so.
struct MIMEParameters {
    /// The most parameters that are read.
    private static let maximumCount = 100

    /// What stands before the first semicolon, without white space and comments, in lower case.
    private(set) var word = ""
    /// Names in lower case; of two with one name the first.
    private(set) var parameters: [String: String] = [:]

    /// One of the parts that RFC 2231 §3 makes of a long value.
    private struct Section {
        let index: Int
        let isExtended: Bool
        let value: [UInt8]
    }

    init(_ octets: [UInt8]) {
        var reader = ParameterReader(octets[...])
        self.word = String(decoding: reader.next().map(\.lowerCased), as: UTF8.self)
        var sections: [String: [Section]] = [:]
        for _ in 0..<Self.maximumCount {
            guard let (attribute, value) = reader.nextParameter() else { break }
            let (name, section) = Self.section(attribute, value)
            sections[name, default: []].append(section)
        }
        self.parameters = sections.mapValues { Self.joined($0) }
    }

    /// `name`, `name*`, `name*1` or `name*1*`.
    private static func section(_ attribute: [UInt8], _ value: [UInt8]) -> (String, Section) {
        let text = String(decoding: attribute.map(\.lowerCased), as: UTF8.self)
        let parts = text.split(separator: "*", omittingEmptySubsequences: false)
        let name = String(parts[0])
        switch parts.count {
        case 2 where parts[1].isEmpty:
            return (name, Section(index: 0, isExtended: true, value: value))
        case 2, 3:
            if let index = Int(parts[1]), index >= 0, parts.count == 2 || parts[2].isEmpty {
                return (name, Section(index: index, isExtended: parts.count == 3, value: value))
            }
            return (text, Section(index: -1, isExtended: false, value: value))
        case 1:
            return (name, Section(index: -1, isExtended: false, value: value))
        default:
            return (text, Section(index: -1, isExtended: false, value: value))
        }
    }

    /// The value of a parameter; the form of RFC 2231 counts more than the plain one (its §4.1 and
    /// RFC 6266 §4.3).
    private static func joined(_ sections: [Section]) -> String {
        var ordered: [Int: Section] = [:]
        for section in sections where ordered[section.index] == nil {
            ordered[section.index] = section
        }
        guard let first = ordered[0] else {
            return EncodedWords.decode(ordered[-1]?.value ?? sections.first?.value ?? [])
        }
        var charset = Charset.utf8
        var value = first.value
        if first.isExtended {
            let parts = value.split(separator: 0x27, maxSplits: 2, omittingEmptySubsequences: false)
            if parts.count == 3 {
                charset = Charset(String(decoding: parts[0], as: UTF8.self)) ?? .utf8
                value = Array(parts[2])
            }
            value = self.percentDecoded(value)
        }
        var index = 1
        while let next = ordered[index] {
            value += next.isExtended ? self.percentDecoded(next.value) : next.value
            index += 1
        }
        return first.isExtended ? charset.decode(value) : EncodedWords.decode(value)
    }

    private static func percentDecoded(_ octets: [UInt8]) -> [UInt8] {
        var decoded: [UInt8] = []
        var index = 0
        while index < octets.count {
            if octets[index] == UInt8(ascii: "%"), index + 2 < octets.count,
                let high = octets[index + 1].hexDigitValue,
                let low = octets[index + 2].hexDigitValue
            {
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(octets[index])
                index += 1
            }
        }
        return decoded
    }
}

/// Cuts a field's value at its semicolons.
private struct ParameterReader {
    private var rest: ArraySlice<UInt8>

    init(_ octets: ArraySlice<UInt8>) { self.rest = octets }

    /// The next `attribute=value`; what has no `=` is left out.
    mutating func nextParameter() -> (attribute: [UInt8], value: [UInt8])? {
        while !self.rest.isEmpty {
            var attribute: [UInt8]?
            let value = self.next(attribute: &attribute)
            if let attribute, !attribute.isEmpty { return (attribute, value) }
        }
        return nil
    }

    /// What stands before the next semicolon, quotes and comments removed.
    mutating func next() -> [UInt8] {
        var attribute: [UInt8]?
        let value = self.next(attribute: &attribute)
        return attribute.map { $0 + [UInt8(ascii: "=")] + value } ?? value
    }

    private mutating func next(attribute: inout [UInt8]?) -> [UInt8] {
        var text: [UInt8] = []
        var comments = 0
        var isQuoted = false
        // White space within a value without quotes stays, for the mailers that forget them.
        var blanks: [UInt8] = []
        while let octet = self.rest.popFirst() {
            switch octet {
            case UInt8(ascii: "\\") where isQuoted || comments > 0:
                let escaped = self.rest.popFirst() ?? octet
                if isQuoted { text.append(escaped) }
            case UInt8(ascii: "\"") where comments == 0:
                isQuoted.toggle()
                text += isQuoted && !text.isEmpty ? blanks : []
                blanks = []
            case _ where isQuoted:
                text.append(octet)
            case UInt8(ascii: "("):
                comments += 1
            case UInt8(ascii: ")") where comments > 0:
                comments -= 1
            case _ where comments > 0:
                break
            case UInt8(ascii: ";"):
                return text
            case UInt8(ascii: "=") where attribute == nil:
                attribute = text
                text = []
                blanks = []
            case _ where octet.isBlank:
                if !text.isEmpty { blanks.append(octet) }
            default:
                text += blanks
                blanks = []
                text.append(octet)
            }
        }
        return text
    }
}
