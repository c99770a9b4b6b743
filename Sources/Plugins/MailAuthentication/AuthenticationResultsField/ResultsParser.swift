import Octets

/// What an Authentication-Results field says (RFC 8601 §2.2).
struct ParsedResults: Sendable, Equatable {
    /// One `resinfo`.
    struct Result: Sendable, Equatable {
        let method: String
        let result: String
        let properties: [String]
    }

    /// The authserv-id, without quotes.
    let server: [UInt8]
    /// Nothing for `none`.
    let results: [Result]

    /// Reads what follows the field's colon.
    ///
    /// - Returns: `nil` if it breaks the grammar.
    init?(_ value: [UInt8]) {
        var parser = ResultsParser(value)
        guard let parsed = try? parser.field() else { return nil }
        self = parsed
    }

    fileprivate init(server: [UInt8], results: [Result]) {
        self.server = server
        self.results = results
    }

    /// Whether `text` is one `resinfo` without its semicolon, in one line.
    static func isResult(_ text: String) -> Bool {
        guard text.utf8.allSatisfy({ !$0.isControl }) else { return false }
        var parser = ResultsParser(Array(text.utf8))
        guard (try? parser.result()) != nil else { return false }
        return parser.isAtEnd
    }
}

/// Reads the grammar of RFC 8601 §2.2, octet by octet.
private struct ResultsParser {
    struct Broken: Error {}

    private let octets: [UInt8]
    private var index = 0

    init(_ octets: [UInt8]) { self.octets = octets }

    var isAtEnd: Bool { self.index >= self.octets.count }
    private var next: UInt8? { self.isAtEnd ? nil : self.octets[self.index] }

    mutating func field() throws -> ParsedResults {
        try self.skipSpace()
        let server = try self.value()
        try self.skipSpace()
        if self.next?.isDigit == true {
            self.skip(while: \.isDigit)
            try self.skipSpace()
        }
        var results: [ParsedResults.Result] = []
        var isNone = false
        repeat {
            try self.take(UInt8(ascii: ";"))
            try self.skipSpace()
            let start = self.index
            if results.isEmpty, try self.keyword() == "none" {
                try self.skipSpace()
                isNone = self.isAtEnd
            }
            if !isNone {
                self.index = start
                results.append(try self.result())
            }
        } while !self.isAtEnd
        return ParsedResults(server: server, results: results)
    }

    /// Method, result, reason and properties, with white space around them.
    mutating func result() throws -> ParsedResults.Result {
        try self.skipSpace()
        let method = try self.keyword()
        try self.skipSpace()
        if self.next == UInt8(ascii: "/") {
            self.index += 1
            try self.skipSpace()
            let start = self.index
            self.skip(while: \.isDigit)
            guard self.index > start else { throw Broken() }
            try self.skipSpace()
        }
        try self.take(.equals)
        try self.skipSpace()
        let result = try self.keyword()
        try self.skipSpace()
        var properties: [String] = []
        while let next = self.next, next != UInt8(ascii: ";") {
            let word = try self.keyword()
            try self.skipSpace()
            if word == "reason", self.next == .equals {
                self.index += 1
                try self.skipSpace()
                _ = try self.value()
            } else {
                try self.take(.dot)
                try self.skipSpace()
                let property = try self.keyword()
                try self.skipSpace()
                try self.take(.equals)
                try self.skipSpace()
                try self.skipPropertyValue()
                properties.append("\(word).\(property)")
            }
            let end = self.index
            try self.skipSpace()
            // White space or the end must follow a value.
            guard self.index > end || self.isAtEnd || self.next == UInt8(ascii: ";") else {
                throw Broken()
            }
        }
        return ParsedResults.Result(method: method, result: result, properties: properties)
    }

    // MARK: Words

    private mutating func take(_ octet: UInt8) throws {
        guard self.next == octet else { throw Broken() }
        self.index += 1
    }

    private mutating func skip(while condition: (UInt8) -> Bool) {
        while let next = self.next, condition(next) { self.index += 1 }
    }

    private mutating func keyword() throws -> String {
        let start = self.index
        self.skip { $0.isLetterOrDigit || $0 == .hyphen || $0 == UInt8(ascii: "_") }
        guard self.index > start else { throw Broken() }
        let octets = self.octets[start..<self.index].map(\.lowerCased)
        return String(decoding: octets, as: UTF8.self)
    }

    /// A token or a quoted string.
    private mutating func value() throws -> [UInt8] {
        if self.next == .quote { return try self.quotedString() }
        let start = self.index
        self.skip { ResultText.isTokenOctet($0) || $0.isNonASCII }
        guard self.index > start else { throw Broken() }
        return Array(self.octets[start..<self.index])
    }

    /// A value, or an address or part of one; addresses of IPv6 too, which most write without quotes.
    private mutating func skipPropertyValue() throws {
        let start = self.index
        if self.next == .quote {
            _ = try self.quotedString()
            guard self.next == .at else { return }
        }
        self.skip { $0 > 0x20 && $0 != .delete && !"();\"\\".utf8.contains($0) }
        guard self.index > start else { throw Broken() }
    }

    private mutating func quotedString() throws -> [UInt8] {
        try self.take(.quote)
        var text: [UInt8] = []
        while let next = self.next {
            switch next {
            case .quote:
                self.index += 1
                return text

            case .backslash:
                self.index += 1
                guard let quoted = self.next, !quoted.isControl || quoted == .tab else {
                    throw Broken()
                }
                text.append(quoted)
                self.index += 1

            case .carriageReturn: try self.skipFold()
            default:
                guard !next.isControl || next == .tab else { throw Broken() }
                text.append(next)
                self.index += 1
            }
        }
        throw Broken()
    }

    // MARK: White space and comments

    private mutating func skipSpace() throws {
        while let next = self.next {
            switch next {
            case .space, .tab: self.index += 1
            case .carriageReturn: try self.skipFold()
            case UInt8(ascii: "("): try self.skipComment()
            default: return
            }
        }
    }

    private mutating func skipFold() throws {
        guard self.index + 2 < self.octets.count, self.octets[self.index + 1] == .lineFeed,
            self.octets[self.index + 2].isBlank
        else { throw Broken() }
        self.index += 2
    }

    private mutating func skipComment() throws {
        var depth = 0
        while let next = self.next {
            switch next {
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")"): depth -= 1
            case .backslash: self.index += 1
            case .carriageReturn:
                try self.skipFold()
                continue
            default:
                guard !next.isControl || next == .tab else { throw Broken() }
            }
            self.index += 1
            if depth == 0 { return }
        }
        throw Broken()
    }
}
