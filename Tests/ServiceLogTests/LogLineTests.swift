import Configuration
import JSON
import Logging
import Testing

@testable import ServiceLog

/// Lines of the log, octet for octet.
@Suite struct LogLineTests {
    private static func line(_ format: LogFormat, _ value: Logger.MetadataValue) -> String {
        self.line(format, ["key": value])
    }

    private static func line(
        _ format: LogFormat,
        message: String = "message",
        _ metadata: Logger.Metadata
    ) -> String {
        let lines = LogLineFormat(program: "p", format: format)
        return String(decoding: lines.line(.info, message, metadata, time: "T"), as: UTF8.self)
    }

    // MARK: Text

    @Test(arguments: [
        ("plain", "plain"), ("", #""""#), ("two words", #""two words""#), ("a=b", #""a=b""#),
        (#"a"b"#, #""a\"b""#), (#"a\b"#, #"a\\b"#),
        // A quotation mark with a combining mark is one Character, and a quotation mark all the same.
        ("x\"\u{301} result=accepted", #""x\"\u{301} result=accepted""#),
        // Control octets: C0, DEL, C1.
        ("\u{0}\u{1b}[2J\r\n\t", #"\u{0}\u{1b}[2J\u{d}\u{a}\u{9}"#), ("\u{7f}", #"\u{7f}"#),
        ("\u{80}\u{85}\u{9b}31m\u{9f}", #""\u{80}\u{85}\u{9b}31m\u{9f}""#),
        // Direction, joiners, separators, the byte-order mark, tags.
        ("\u{200e}\u{200f}\u{61c}", #""\u{200e}\u{200f}\u{61c}""#),
        ("\u{2028}\u{2029}\u{202a}\u{202e}", #""\u{2028}\u{2029}\u{202a}\u{202e}""#),
        ("\u{2066}\u{2069}\u{feff}\u{e0001}", #""\u{2066}\u{2069}\u{feff}\u{e0001}""#),
        // Spaces that are not U+0020, private use, unassigned.
        ("a\u{a0}b\u{3000}", #""a\u{a0}b\u{3000}""#), ("\u{e000}\u{378}", #""\u{e000}\u{378}""#),
        // A combining mark needs a letter of the value itself.
        ("\u{301}a", #""\u{301}a""#), ("a\u{301}", "\"a\u{301}\""), (" \u{301}", #"" \u{301}""#),
        ("é\u{301}\u{302}", "\"é\u{301}\u{302}\""), ("Zoë 日本 😀", "\"Zoë 日本 😀\""),
    ])
    func `text is quoted and escaped`(value: String, expected: String) {
        #expect(Self.line(.text, .string(value)) == "T info message key=\(expected)\n")
    }

    @Test(
        arguments: [
            ([0xFF, 0xFE], #""\xff\xfe""#, #""\\xff\\xfe""#),
            // A sequence cut short, overlong, a surrogate, beyond U+10FFFF.
            ([0xE2, 0x82], #""\xe2\x82""#, #""\\xe2\\x82""#),
            ([0xC0, 0xAF], #""\xc0\xaf""#, #""\\xc0\\xaf""#),
            ([0xE0, 0x80, 0x80], #""\xe0\x80\x80""#, #""\\xe0\\x80\\x80""#),
            ([0xED, 0xA0, 0x80], #""\xed\xa0\x80""#, #""\\xed\\xa0\\x80""#),
            ([0xF5, 0x80, 0x80, 0x80], #""\xf5\x80\x80\x80""#, #""\\xf5\\x80\\x80\\x80""#),
            ([0xFF, 0xCC, 0x81], #""\xff\u{301}""#, #""\\xff\u0301""#),
            ([0x22, 0xCC, 0x81], #""\"\u{301}""#, #""\"\u0301""#),
            ([0x61, 0x40, 0x62], "a@b", #""a@b""#),
        ] as [([UInt8], String, String)]
    )
    func `octets that are no UTF-8 show as they are`(octets: [UInt8], text: String, json: String) {
        #expect(Self.line(.text, .octets(octets)) == "T info message key=\(text)\n")
        #expect(Self.line(.json, .octets(octets)).hasSuffix(#""key":\#(json)}"# + "\n"))
    }

    @Test func `a key cannot end itself`() {
        let line = Self.line(.text, ["a b=\"c\u{85}": "v"])
        #expect(line == #"T info message a\u{20}b\u{3d}\u{22}c\u{85}=v"# + "\n")
    }

    @Test func `a message cannot look like keys`() {
        let line = Self.line(.text, message: "said \"x\"\u{301} result=accepted", [:])
        #expect(line == #"T info "said \"x\"\u{301} result=accepted""# + "\n")
        #expect(Self.line(.text, message: "a\nb", [:]) == #"T info a\u{a}b"# + "\n")
    }

    @Test(arguments: [511, 512, 513, 514])
    func `a long value is cut between characters`(count: Int) {
        let value = String(repeating: "a", count: count - 2) + "é"
        let line = Self.line(.text, .string(value))
        let kept = count <= 512 ? "\"\(value)\"" : "\"\(String(repeating: "a", count: 511))"
        #expect(line.hasPrefix("T info message key=\(kept.prefix(512))"))
        #expect(line.hasSuffix(count <= 512 ? "é\"\n" : "a…\"\n"))
    }

    // MARK: Numbers

    @Test(
        arguments: [
            (.number(7), "7", "7"), (.number(Int64(-7)), "-7", "-7"),
            (.number(UInt8(255)), "255", "255"),
            (.stringConvertible(true), "true", "true"), (.stringConvertible(1.5), "1.5", "1.5"),
            (.stringConvertible(1e-9), "1e-09", "1e-09"),
            (.stringConvertible(Double.nan), "nan", #""nan""#),
            (.stringConvertible(-Double.infinity), "-inf", #""-inf""#),
            (.number(Int64(9_007_199_254_740_991)), "9007199254740991", "9007199254740991"),
            (.number(Int64(9_007_199_254_740_992)), "9007199254740992", #""9007199254740992""#),
            (.number(UInt64.max), "18446744073709551615", #""18446744073709551615""#),
            (.string("7"), "7", #""7""#), (["a", "b"], #""[\"a\", \"b\"]""#, #""[\"a\", \"b\"]""#),
        ] as [(Logger.MetadataValue, String, String)]
    )
    func `numbers are numbers`(value: Logger.MetadataValue, text: String, json: String) throws {
        #expect(Self.line(.text, value) == "T info message key=\(text)\n")
        let line = Self.line(.json, value)
        #expect(line.hasSuffix(#""key":\#(json)}"# + "\n"))
        try Self.scan(line)
    }

    // MARK: JSON

    /// The line is one, and I-JSON by the rules of the protocol.
    private static func scan(_ line: String) throws {
        #expect(line.utf8.last == 0x0A)
        #expect(line.utf8.count { $0 == 0x0A } == 1)
        _ = try JSONObjectText(Array(line.utf8.dropLast()))
    }

    @Test func `every scalar of the first plane and every octet makes a line of JSON`() throws {
        for first in stride(from: UInt32(0), to: 0x1_0000, by: 64) {
            var value = "\""
            for scalar in (first..<first + 64).compactMap(Unicode.Scalar.init) {
                value.unicodeScalars.append(scalar)
            }
            let line = Self.line(.json, message: value, ["k": .string(value), "\(value)": "v"])
            try Self.scan(line)
            for scalar in line.unicodeScalars.dropLast() {
                let category = scalar.properties.generalCategory
                #expect(
                    ![.control, .format, .lineSeparator, .paragraphSeparator].contains(category)
                )
            }
        }
        for octet in UInt8.min ... .max {
            for octets in [[octet], [octet, 0x22], [0x22, octet], [0xE2, octet, 0x80]] {
                try Self.scan(Self.line(.json, .octets(octets)))
            }
        }
    }

    @Test func `a scalar beyond U+FFFF is escaped as two`() {
        #expect(
            Self.line(.json, "\u{e0001}").hasSuffix(#""key":"\udb40\udc01"}"# + "\n")
        )
    }

    @Test func `a key that the line has already gets an underscore`() throws {
        let line = Self.line(.json, ["message": "m", "message_": "n", "time": "t", "level": "l"])
        try Self.scan(line)
        #expect(
            line == #"{"time":"T","level":"info","program":"p","message":"message","level_":"l","#
                + #""message__":"m","message_":"n","time_":"t"}"# + "\n"
        )
    }
}
