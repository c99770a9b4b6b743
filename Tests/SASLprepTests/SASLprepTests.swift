import SASLprep
import Testing

struct SASLprepTests {
    /// What is prepared, and what it becomes; `nil`: prohibited.
    private static let table: [(text: String, prepared: String?)] = [
        // RFC 4013 §3.
        ("I\u{AD}X", "IX"), ("user", "user"), ("USER", "USER"), ("\u{AA}", "a"),
        ("\u{2168}", "IX"), ("\u{7}", nil), ("\u{627}1", nil),
        // RFC 4013 §2.1: other spaces become a space, and some characters nothing.
        ("a\u{A0}b\u{3000}c", "a b c"), ("\u{200B}\u{FEFF}\u{FE0F}a", "\u{20}a"), ("\u{AD}", ""),
        // RFC 4013 §2.2: normalisation form KC.
        ("e\u{301}", "\u{E9}"), ("\u{FB01}ne", "fine"), ("\u{FF21}", "A"), ("\u{212B}", "\u{C5}"),
        // RFC 4013 §2.3: control characters, private use, what is no character, tags, changes of direction.
        ("\0", nil), ("a\0\u{E9}", nil), ("\u{7F}", nil), ("\u{85}", nil), ("\u{2028}", nil),
        ("\u{E000}", nil), ("\u{FFFD}", nil), ("\u{2FF0}", nil),
        ("\u{202E}a", nil), ("\u{E0001}", nil), ("\t", nil),
        // RFC 4013 §2.4: from right to left whole, or not at all.
        ("\u{627}\u{628}", "\u{627}\u{628}"), ("\u{627}1\u{628}", "\u{627}1\u{628}"),
        ("a\u{627}", nil), ("\u{627}a\u{628}", nil),
        // RFC 4013 §2.5: what Unicode 3.2 does not assign is taken, as in a query.
        ("\u{1F511}", "\u{1F511}"), ("\u{221}", "\u{221}"),
        ("", ""), ("open sesame ~", "open sesame ~"),
    ]

    @Test(arguments: Self.table.indices)
    func `a text is prepared as the RFC says`(index: Int) {
        let (text, prepared) = Self.table[index]
        #expect(StringPreparation.prepared(Array(text.utf8)) == prepared.map { Array($0.utf8) })
    }

    @Test func `what is prepared is prepared already`() {
        for prepared in Self.table.compactMap(\.prepared) {
            #expect(StringPreparation.prepared(Array(prepared.utf8)) == Array(prepared.utf8))
        }
    }

    @Test(arguments: [
        [0xFF], [0xC3], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0x61, 0xE9],
        // U+FDD0, no character.
        [0xEF, 0xB7, 0x90],
    ])
    func `octets that are no characters are prohibited`(octets: [UInt8]) {
        #expect(StringPreparation.prepared(octets) == nil)
    }

    @Test func `each octet of ASCII is its own form, or prohibited`() {
        for octet in UInt8(0)...0x7F {
            let isText = (0x20...0x7E).contains(octet)
            #expect(StringPreparation.prepared([octet]) == (isText ? [octet] : nil))
            // Beside a character beyond ASCII, which the library prepares.
            let beside = StringPreparation.prepared([octet, 0xC3, 0xA9])
            #expect(beside == (isText ? [octet, 0xC3, 0xA9] : nil))
        }
    }

    /// U+FDFA becomes eighteen characters, the most that there are.
    @Test func `the longest text and its form have room`() {
        let longest = [UInt8](repeating: 0x61, count: StringPreparation.maximumOctets)
        #expect(StringPreparation.prepared(longest) == longest)
        #expect(StringPreparation.prepared(longest + [0x61]) == nil)
        let grows = Array(repeating: Array("\u{FDFA}".utf8), count: 341).flatMap(\.self)
        #expect(StringPreparation.prepared(grows)?.count == 341 * 33)
        #expect(StringPreparation.prepared(grows + Array("\u{E9}".utf8)) == nil)
    }
}
