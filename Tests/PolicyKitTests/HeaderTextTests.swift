import Glibc
import Testing

@testable import PolicyKit

/// What the SDK makes of values that may not stand in a message; `test_header.py` has the same rows.
struct HeaderTextTests {
    private static func text(_ parts: (String, Int)...) -> String {
        parts.map { String(repeating: $0.0, count: $0.1) }.joined()
    }

    static let rows: [(String, String)] = [
        (" plain", " plain"),
        ("", ""),
        (" a\r\n b\r\n\tc", " a\r\n b\r\n\tc"),
        ("\r\n\tvalue", "\r\n\tvalue"),
        ("\r\n\t\r\n\tvalue", "\t\r\n\tvalue"),
        (" [tag]\r\n \r\n\tvalue", " [tag] \r\n\tvalue"),
        (" a\r\n \r\n\t", " a \t"),
        (" a\u{0}b\rc\nd\r\n\u{0} e\r\n", " abcd e"),
        ("\r\n \u{0}\r\n\tx", " \r\n\tx"),
        (" Grüße", " =?UTF-8?Q?Gr=C3=BC=C3=9Fe?="),
        (" an grüne Bäume hier", " an =?UTF-8?Q?gr=C3=BCne_B=C3=A4ume?= hier"),
        (" ä\r\n\tö x", " =?UTF-8?Q?=C3=A4=09=C3=B6?= x"),
        (
            text((" ", 1), ("ß", 12)),
            text(
                (" =?UTF-8?Q?", 1),
                ("=C3=9F", 10),
                ("?=\r\n =?UTF-8?Q?", 1),
                ("=C3=9F", 2),
                ("?=", 1)
            )
        ),
        (text((" ", 1), ("x", 990)), text((" ", 1), ("x", 990))),
        (text((" ", 1), ("x", 1200)), text((" ", 1), ("x", 992), ("\r\n ", 1), ("x", 208))),
        (
            text((" word", 200)),
            text((" word", 14))
                + String(repeating: text(("\r\n", 1), (" word", 15)), count: 12)
                + text(("\r\n", 1), (" word", 6))
        ),
    ]

    @Test(arguments: rows)
    func `a value that may not stand in a message is made one that may`(
        value: String,
        legal: String
    ) {
        let result = HeaderText.legal(Bytes(value), nameOctets: 4, allows8Bit: false)
        #expect(result == Bytes(legal))
        #expect(HeaderText.legal(result, nameOctets: 4, allows8Bit: false) == result)
    }

    @Test(arguments: [255, 990, 998, 2_000])
    func `a long name leaves its line to itself`(nameOctets: Int) {
        for value in [" x", "x"] {
            let result = HeaderText.legal(Bytes(value), nameOctets: nameOctets, allows8Bit: false)
            let fits = nameOctets + 2 + value.utf8.count <= 998
            #expect(result == Bytes(fits ? value : "\r\n x"), "\(nameOctets)")
        }
    }

    /// 16 times the octets take 16 times as long, and not 256 times.
    @Test(arguments: ["\r\n ", "a\r\n ", "x", "ü ", " a", "ü a "])
    func `the time is in proportion to the octets`(piece: String) {
        func time(_ octets: Int) -> Duration {
            let value = Bytes(String(repeating: piece, count: octets / piece.utf8.count))
            return (0..<2).map { _ in
                let start = clock()
                _ = HeaderText.legal(value, nameOctets: 4, allows8Bit: false)
                return Duration.microseconds(clock() - start)
            }.min() ?? .zero
        }
        let small = time(8_192)
        #expect(time(131_072) < small * 80 + .milliseconds(50))
    }

    @Test func `octets that are no text say so`() {
        let value = Bytes(octets: Array(" caf".utf8) + [0xE9])
        let result = HeaderText.legal(value, nameOctets: 4, allows8Bit: false)
        #expect(result == " =?unknown-8bit?Q?caf=E9?=")
        #expect(HeaderText.legal(value, nameOctets: 4, allows8Bit: true) == value)
    }

    @Test func `whatever comes, no line is too long, blank or beyond ASCII`() {
        var generator = SystemRandomNumberGenerator()
        let pieces: [[UInt8]] = [
            [0x20], [0x09], [0x0D, 0x0A, 0x20], [0x0D, 0x0A, 0x09], [0x61], Array("word".utf8),
            Array("ü€".utf8), [0xFF], Array(repeating: 0x78, count: 700),
            Array(repeating: 0x20, count: 600),
        ]
        for _ in 0..<1_000 {
            let count = Int.random(in: 0..<30, using: &generator)
            var value: [UInt8] = [0x20]
            for _ in 0..<count { value += pieces.randomElement(using: &generator) ?? [] }
            let octets = HeaderText.legal(
                Bytes(octets: value),
                nameOctets: 40,
                allows8Bit: false
            ).octets
            var line = 41
            var isBlank = false
            for octet in octets {
                switch octet {
                case 0x0A:
                    #expect(!isBlank)
                    (line, isBlank) = (0, true)
                case 0x0D: break
                default:
                    line += 1
                    if octet != 0x20 && octet != 0x09 { isBlank = false }
                    #expect(line <= 998 && octet < 0x80)
                }
            }
            #expect(!isBlank)
        }
    }
}
