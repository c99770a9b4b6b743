import PolicyKit

/// What spamd says to `HEADERS`.
///
/// The reply comes from a program that reads hostile mail all day: every part of it is bounded and
/// checked, and what is not as it should be is an error, never a guess.
struct SpamdReply: Sendable, Equatable {
    /// The most `X-Spam-*` fields taken; what stands below them is left out.
    static let maximumFields = 64
    /// The longest value of one of them, its folds included; what is longer is cut.
    ///
    /// Encoded words make four times as much of it, and a verdict's value has 65,536 octets at most.
    static let maximumValueOctets = 12_288
    /// The most octets of all values.
    static let maximumOctets = 65_536

    /// A header field that spamd wants added, its value as it follows the colon.
    struct Field: Sendable, Equatable {
        let name: String
        var value: [UInt8]
    }

    let isSpam: Bool
    let score: Double
    let required: Double
    /// The `X-Spam-*` fields in the order received, folds kept, lines ended by CRLF.
    let fields: [Field]

    /// Reads a whole reply: head, empty line, header of the message.
    init(_ octets: [UInt8]) throws(SpamdError) {
        var lines = SpamdLines(octets)
        try Self.readStatus(lines.next())
        var verdict: (isSpam: Bool, score: Double, required: Double)?
        var length: String?
        while true {
            guard let line = lines.next() else {
                throw SpamdError(.malformed, "the reply ends in its head")
            }
            if line.isEmpty { break }
            if let value = Self.value(of: "Spam", in: line) { verdict = Self.verdict(value) }
            if let value = Self.value(of: "Content-length", in: line) { length = value }
        }
        guard length == nil || length == "\(lines.remaining)" else {
            throw SpamdError(.malformed, "Content-length \(length ?? "") of \(lines.remaining)")
        }
        guard let verdict else { throw SpamdError(.malformed, "no verdict in the reply") }
        self.isSpam = verdict.isSpam
        self.score = verdict.score
        self.required = verdict.required
        self.fields = Self.readFields(&lines)
    }

    /// `SPAMD/1.1 0 EX_OK`; any other number is an error that spamd reports.
    private static func readStatus(_ line: ArraySlice<UInt8>?) throws(SpamdError) {
        let words = (line ?? []).split(separator: 0x20).map { String(decoding: $0, as: UTF8.self) }
        guard words.count >= 2, words[0].hasPrefix("SPAMD/"), let code = Int(words[1]) else {
            throw SpamdError(.malformed, "not a reply of spamd")
        }
        guard code == 0 else {
            throw SpamdError(.refused, "spamd answers \(code) \(words.dropFirst(2).first ?? "")")
        }
    }

    /// The text after `name:`, trimmed, if the line begins so.
    private static func value(of name: String, in line: ArraySlice<UInt8>) -> String? {
        let text = String(decoding: line, as: UTF8.self)
        guard let colon = text.firstIndex(of: ":"),
            text[..<colon].lowercased() == name.lowercased()
        else { return nil }
        let words = text[text.index(after: colon)...].split { $0 == " " || $0 == "\t" }
        return words.joined(separator: " ")
    }

    /// `True ; 15.2 / 5.0`.
    private static func verdict(_ text: String) -> (Bool, Double, Double)? {
        let words = text.split(separator: " ")
        guard words.count == 5, words[1] == ";", words[3] == "/",
            let score = Self.number(words[2]), let required = Self.number(words[4])
        else { return nil }
        switch words[0].lowercased() {
        case "true", "yes": return (true, score, required)
        case "false", "no": return (false, score, required)
        default: return nil
        }
    }

    /// A decimal number; what else `Double` reads (`nan`, `0x1p4`) is none.
    static func number(_ text: some StringProtocol) -> Double? {
        let isDecimal = text.utf8.allSatisfy { octet in
            switch octet {
            case 0x30...0x39, 0x2D, 0x2E: true
            default: false
            }
        }
        guard isDecimal, text.utf8.count <= 20, let number = Double(text) else { return nil }
        return number
    }

    /// What is taken fits into a verdict, however much spamd says.
    private static func readFields(_ lines: inout SpamdLines) -> [Field] {
        var fields: [Field] = []
        var octets = 0
        var isOurs = false
        while let line = lines.next(), !line.isEmpty {
            if line.first == 0x20 || line.first == 0x09 {
                guard isOurs, let last = fields.indices.last else { continue }
                isOurs =
                    fields[last].value.count + 2 + line.count <= Self.maximumValueOctets
                    && octets + 2 + line.count <= Self.maximumOctets
                guard isOurs else { continue }
                octets += 2 + line.count
                fields[last].value += [0x0D, 0x0A]
                fields[last].value += line
            } else {
                isOurs = Self.isSpamField(line) && fields.count < Self.maximumFields
                guard isOurs, let colon = line.firstIndex(of: 0x3A) else { continue }
                let value = line[(colon + 1)...].prefix(Self.maximumValueOctets)
                isOurs =
                    line.distance(from: line.startIndex, to: colon) <= SpamHeader.maximumNameOctets
                    && octets + value.count <= Self.maximumOctets
                guard isOurs else { continue }
                octets += value.count
                let name = String(decoding: line[..<colon], as: UTF8.self)
                fields.append(Field(name: name, value: Array(value)))
            }
        }
        return fields
    }

    /// Whether the line begins with `X-Spam-`, a name of ftext (RFC 5322 §2.2) and a colon.
    static func isSpamField(_ line: some Collection<UInt8>) -> Bool {
        let prefix = "x-spam-".utf8
        guard zip(line, prefix).allSatisfy({ $0 | 0x20 == $1 || $0 == $1 }) else { return false }
        guard let colon = line.firstIndex(of: 0x3A) else { return false }
        let name = line[..<colon]
        return name.count > prefix.count && name.allSatisfy { 0x21...0x7E ~= $0 }
    }
}

/// What the field `X-Spam-Status` says besides the score.
struct SpamStatus: Sendable, Equatable {
    /// The most octets of each.
    private static let maximumWordOctets = 4_096

    var autolearn: String?
    var tests: String?
    var version: String?

    /// Reads `No, score=0.1 required=5.0 tests=A,B autolearn=ham version=4.0.0`, folded anywhere.
    init(_ value: [UInt8]) {
        // Printable ASCII, so that a note has no more octets than it has characters.
        let printable = value.map { 0x21...0x7E ~= $0 ? $0 : 0x20 }
        let text = String(decoding: printable, as: UTF8.self)
        var key = ""
        for word in text.split(whereSeparator: { $0.isWhitespace }) {
            if key == "tests", let tests = self.tests, tests.hasSuffix(","), !word.contains("=") {
                self.tests?.append(
                    contentsOf: word.prefix(Self.maximumWordOctets - tests.utf8.count)
                )
                continue
            }
            guard let equals = word.firstIndex(of: "=") else { continue }
            key = word[..<equals].lowercased()
            let value = String(word[word.index(after: equals)...].prefix(Self.maximumWordOctets))
            switch key {
            case "autolearn": self.autolearn = value
            case "tests": self.tests = value
            case "version": self.version = value
            default: break
            }
        }
    }
}

/// Lines that end in CRLF or LF.
///
/// A line with another control octet than TAB, or with a bare CR, is
/// cut to nothing but its printable octets: such a field could smuggle a line of its own.
struct SpamdLines {
    private let octets: [UInt8]
    private var position = 0

    init(_ octets: [UInt8]) { self.octets = octets }

    /// Octets not yet taken.
    var remaining: Int { self.octets.count - self.position }

    /// The next line without its end; `nil` when there is none.
    mutating func next() -> ArraySlice<UInt8>? {
        guard self.position < self.octets.count else { return nil }
        let rest = self.octets[self.position...]
        let end = rest.firstIndex(of: 0x0A) ?? rest.endIndex
        self.position = min(end + 1, self.octets.count)
        var line = rest[..<end]
        if line.last == 0x0D { line.removeLast() }
        guard line.allSatisfy({ $0 >= 0x20 || $0 == 0x09 }) else {
            return line.filter { $0 >= 0x20 || $0 == 0x09 }[...]
        }
        return line
    }
}

/// Why a reply says nothing about the message.
struct SpamdError: Error, Equatable, CustomStringConvertible {
    enum Code: Sendable {
        /// Not the reply of a spamd.
        case malformed
        /// spamd reports an error.
        case refused
    }

    let code: Code
    /// For the log.
    let detail: String

    init(_ code: Code, _ detail: String) {
        self.code = code
        self.detail = detail
    }

    var description: String { "spamd \(self.code): \(self.detail)" }

    static func == (lhs: Self, rhs: Self) -> Bool { lhs.code == rhs.code }
}
