import Glibc
import Testing

@testable import PolicyKit
@testable import PolicyKitTesting

@Suite struct MIMEContentTests {
    @Test(arguments: [
        ("", ""), ("aGVsbG8=", "hello"), ("aGVsbG8", "hello"), ("aGVs\r\nbG8=\r\n", "hello"),
        ("a-G*V s.b_G8", "hello"), ("aA==aQ==", "hi"), ("aA=", "h"), ("a", ""), ("====", ""),
        ("aGVsbG8=trailing", "hello\u{B6}\u{B6}\u{A2}\u{96}\u{29}\u{E0}"),
    ])
    func `base64 is read as far as it is base64`(encoded: String, decoded: String) {
        let octets = TransferEncoding.base64(Array(encoded.utf8)[...])
        #expect(octets == decoded.unicodeScalars.map { UInt8($0.value) })
    }

    @Test(arguments: [
        ("", ""), ("a=3Db", "a=b"), ("a=3db", "a=b"), ("a=\r\nb", "ab"), ("a= \t\r\nb", "ab"),
        ("a=\nb", "ab"), ("a=", "a"), ("a= ", "a"), ("a=3", "a=3"), ("a=XYb", "a=XYb"),
        ("a \t\r\nb", "a\r\nb"), ("a ", "a"), ("a=20\r\n", "a \r\n"), ("a b", "a b"),
        ("==3D", "=="),
    ])
    func `quoted-printable is read, and what is none stays`(encoded: String, decoded: String) {
        let octets = TransferEncoding.quotedPrintable(Array(encoded.utf8)[...])
        #expect(String(decoding: octets, as: UTF8.self) == decoded)
    }

    @Test(arguments: [
        ("plain", "plain"), ("=?utf-8?q?b=C3=BCcher?=", "bücher"),
        ("=?UTF-8?B?YsO8Y2hlcg==?=", "bücher"),
        ("=?iso-8859-1?Q?b=FCcher_x?=", "bücher x"), ("=?windows-1252?q?=80?=", "€"),
        ("a =?utf-8?q?b?= c", "a b c"), ("=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        ("=?utf-8?q?b=C3?= \t=?utf-8?q?=BC?=", "bü"), ("=?utf-8?q?a?= =?us-ascii?q?b?=", "ab"),
        ("=?utf-8*de?q?a?=", "a"), ("=?utf-8?q?a?=b", "ab"), ("=?klingon?q?a?=", "=?klingon?q?a?="),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="), ("=?utf-8?q?a", "=?utf-8?q?a"), ("=?", "=?"), ("", ""),
        ("=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"), ("b\u{FC}cher", "bücher"),
        ("=?us-ascii?q?=FC?=", "\u{FFFD}"), ("=?utf-8?q??=x", "x"),
    ])
    func `a field's text is decoded`(field: String, text: String) {
        #expect(EncodedWords.decode(Array(field.utf8)) == text)
    }

    @Test(arguments: [
        ("text/plain", "text/plain", [:]),
        ("TEXT/Plain; Charset=UTF-8", "text/plain", ["charset": "UTF-8"]),
        ("a; x=\"q;\\\"d\"; y=2", "a", ["x": "q;\"d", "y": "2"]),
        ("a (comment; x=1); (c (nested)) x=2", "a", ["x": "2"]), ("a; x=1; x=2", "a", ["x": "1"]),
        ("a; x; y=1;;=;z=", "a", ["y": "1", "z": ""]), ("a; x=\"open", "a", ["x": "open"]),
        ("a; name=two words.txt", "a", ["name": "two words.txt"]), ("", "", [:]),
        ("a=b", "a=b", [:]),
        ("a; f*=utf-8'en'b%C3%BC%41", "a", ["f": "büA"]),
        ("a; f*0=one; f*1=two", "a", ["f": "onetwo"]),
        ("a; f*1=two; f*0=one; f*3=gap", "a", ["f": "onetwo"]),
        ("a; f*0*=utf-8''%C3; f*1*=%BC; f*2=%41", "a", ["f": "ü%41"]),
        ("a; f=plain; f*=utf-8''better", "a", ["f": "better"]), ("a; f*1=late", "a", ["f": "late"]),
        ("a; f*=no-quotes%41", "a", ["f": "no-quotesA"]),
        ("a; f*=iso-8859-1''%FC", "a", ["f": "ü"]),
        ("a; f*x=1; f*0*y=2; f*1*2*3=4", "a", ["f*x": "1", "f*0*y": "2", "f*1*2*3": "4"]),
        ("a; f=\"=?utf-8?q?b=C3=BC?=\"", "a", ["f": "bü"]),
        ("a; f*9999999999999999999=1", "a", ["f*9999999999999999999": "1"]),
        ("a; f*=utf-8''%4", "a", ["f": "%4"]),
    ])
    func `a word and its parameters are read`(
        value: String,
        word: String,
        parameters: [String: String]
    ) {
        let read = MIMEParameters(Array(value.utf8))
        #expect(read.word == word)
        #expect(read.parameters == parameters)
    }
}

@Suite struct MIMEMessageTests {
    private func read(
        _ text: String,
        _ change: (inout MIMEMessage.Limits) -> Void = { _ in }
    ) -> MIMEMessage {
        var limits = MIMEMessage.Limits()
        change(&limits)
        return MIMEMessage(Array(text.replacing("\n", with: "\r\n").utf8), limits: limits)
    }

    /// `type[content]` of each part without parts, `type(…)` of each with parts.
    private func outline(_ part: MIMEPart) -> String {
        guard part.parts.isEmpty else {
            return "\(part.type)(\(part.parts.map(self.outline).joined(separator: " ")))"
        }
        let content = String(decoding: part.content(), as: UTF8.self)
        return "\(part.type)[\(content.replacing("\r\n", with: "|"))]"
    }

    @Test(arguments: [
        ("", "text/plain[]"), ("\n", "text/plain[]"), ("A: b\n\nbody\n", "text/plain[body|]"),
        ("A: b", "text/plain[]"), ("\nbody", "text/plain[body]"),
        ("Content-Type: rubbish\n\nx", "text/plain[x]"),
        ("Content-Type: Text/HTML\n\nx", "text/html[x]"),
        ("Content-Transfer-Encoding: BASE64 (c)\n\naGk=\n", "text/plain[hi]"),
        ("Content-Transfer-Encoding: x-uue\n\nas it is", "text/plain[as it is]"),
        // A multipart, with what stands before and after its parts.
        (
            "Content-Type: multipart/mixed; boundary=b\n\npre\n--b\n\none\n--b \t\nA: b\n\ntwo\n\n--b--\nend\n",
            "multipart/mixed(text/plain[one] text/plain[two|])"
        ),
        // A boundary that only begins a line is none; nor is one within a line.
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--bb\nx --b\n--b--x\n--b--\n",
            "multipart/mixed(text/plain[--bb|x --b|--b--x])"
        ),
        // No end, no content, a header that a delimiter cuts off.
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none",
            "multipart/mixed(text/plain[one])"
        ),
        ("Content-Type: multipart/mixed; boundary=b\n\n--b", "multipart/mixed(text/plain[])"),
        (
            "Content-Type: multipart/mixed; boundary=b\n\n--b\nA: b\n--b\n\nx\n--b--",
            "multipart/mixed(text/plain[] text/plain[x])"
        ),
        ("Content-Type: multipart/mixed; boundary=b\n\nno part", "multipart/mixed[no part]"),
        ("Content-Type: multipart/mixed\n\n--\nx", "multipart/mixed[--|x]"),
        // The delimiter of an outer multipart ends the inner one.
        (
            """
            Content-Type: multipart/mixed; boundary="o"

            --o
            Content-Type: multipart/alternative; boundary="i"

            --i

            one
            --i
            Content-Type: text/html

            two
            --o

            three
            --o--
            """,
            "multipart/mixed(multipart/alternative(text/plain[one] text/html[two]) text/plain[three])"
        ),
        // A message within a message, and in a digest.
        (
            "Content-Type: message/rfc822\n\nContent-Type: text/html\n\nx",
            "message/rfc822(text/html[x])"
        ),
        (
            "Content-Type: multipart/digest; boundary=b\n\n--b\n\nSubject: s\n\nx\n--b--",
            "multipart/digest(message/rfc822(text/plain[x]))"
        ),
        // What is encoded is not taken apart.
        (
            "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQTogYg0KDQp4",
            "message/rfc822[A: b||x]"
        ),
    ])
    func `a message is taken apart`(text: String, outline: String) {
        let message = self.read(text)
        #expect(self.outline(message.root) == outline)
        #expect(message.stop == nil)
    }

    @Test func `a field is unfolded, and what is none is left out`() {
        let root = self.read("A: b\n c\nno field\n left out\nB :\td \n: e\n\nx").root
        #expect(root.fields.map { "\($0.name)=\($0.value)" } == ["A=b c", "B=d", "=e"])
    }

    @Test(arguments: [
        ("Content-Disposition: attachment; filename=\"a b.exe\"", "attachment", "a b.exe"),
        ("Content-Disposition: inline\nContent-Type: a/b; name=n", "inline", "n"),
        ("Content-Disposition: x; filename*=utf-8''%C3%BC\nContent-Type: a/b; name=n", "x", "ü"),
        ("Content-Type: a/b;\n name=\"=?utf-8?b?w7w=?=\"", nil, "ü"), ("A: b", nil, nil),
    ])
    func `a part's file name is found`(header: String, disposition: String?, filename: String?) {
        let root = self.read("\(header)\n\n").root
        #expect(root.disposition == disposition)
        #expect(root.filename == filename)
    }

    @Test(arguments: [
        ("text/plain; charset=utf-8", "b\u{FC}"), ("text/html", "b\u{FC}"),
        ("text/html; charset=us-ascii", "b\u{FFFD}\u{FFFD}"),
        ("text/plain; charset=ISO-8859-1", "b\u{C3}\u{BC}"), ("text/plain; charset=koi8-r", nil),
        ("image/png", nil),
    ])
    func `text is that of its character set`(type: String, text: String?) {
        #expect(self.read("Content-Type: \(type)\n\nbü").root.text() == text)
    }

    @Test func `depth, parts and fields are bounded, and it says where reading stopped`() {
        let nested = String(repeating: "Content-Type: message/rfc822\n\n", count: 50) + "x"
        let deep = self.read(nested) { $0.depth = 3 }
        #expect(deep.parts.count == 4)
        #expect(deep.stop == .init(reason: .depth, offset: 4 * 32))

        let head = "Content-Type: multipart/mixed; boundary=b\n\n"
        let many = self.read(head + String(repeating: "--b\n\nx\n", count: 50)) { $0.parts = 10 }
        #expect(many.parts.count == 10)
        #expect(many.stop == .init(reason: .parts, offset: 45 + 9 * 10))

        let long = self.read(String(repeating: "A: b\n c\n", count: 50) + "\nx") { $0.fields = 10 }
        #expect(long.root.fields.count == 10)
        #expect(self.outline(long.root) == "text/plain[x]")
        #expect(long.stop == .init(reason: .fields, offset: 10 * 10))
    }

    /// Inputs that a reader which begins anew, or copies, would read in quadratic time.
    private static let heavy: [(String, @Sendable (Int) -> [UInt8])] = [
        ("no line end", { Array(repeating: 0x61, count: $0) }),
        (
            "delimiters",
            { count in
                let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
                return Array(head.utf8)
                    + Array(repeatElement("--b\r\n\r\n".utf8, count: count / 7).joined())
            }
        ),
        (
            "almost delimiters",
            { count in
                let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
                return Array(head.utf8)
                    + Array(repeatElement("--b-\r\n".utf8, count: count / 6).joined())
            }
        ),
        (
            "messages",
            {
                Array(
                    repeatElement("Content-Type: message/rfc822\r\n\r\n".utf8, count: $0 / 32)
                        .joined()
                )
            }
        ),
        (
            "a folded field",
            { Array("A:".utf8) + Array(repeatElement(" \r\n".utf8, count: $0 / 3).joined()) }
        ),
        ("fields", { Array(repeatElement("A:\r\n".utf8, count: $0 / 4).joined()) }),
        (
            "parameters",
            {
                Array("Content-Type: a/b".utf8)
                    + Array(repeatElement(";x=".utf8, count: $0 / 3).joined())
            }
        ),
        ("quotes", { Array("Content-Type: a/b;x=".utf8) + Array(repeating: 0x22, count: $0) }),
        (
            "encoded words",
            {
                Array("Content-Type: a/b;x=\"".utf8)
                    + Array(repeatElement("=?utf-8?q?a?= ".utf8, count: $0 / 14).joined())
            }
        ),
        (
            "half encoded words",
            {
                Array("Content-Type: a/b;x=\"".utf8)
                    + Array(repeatElement("=?".utf8, count: $0 / 2).joined())
            }
        ),
        (
            "soft line ends",
            {
                Array("Content-Transfer-Encoding: quoted-printable\r\n\r\n".utf8)
                    + Array(repeatElement("= ".utf8, count: $0 / 2).joined())
            }
        ),
        (
            "white space",
            {
                Array("Content-Transfer-Encoding: quoted-printable\r\n\r\n".utf8)
                    + Array(repeating: 0x20, count: $0)
            }
        ),
    ]

    @Test(arguments: heavy.indices)
    func `the time is in proportion to the octets`(index: Int) {
        let (name, make) = Self.heavy[index]
        func seconds(_ octets: [UInt8]) -> Double {
            let start = CPUTime.now
            let message = MIMEMessage(octets)
            for part in message.parts { _ = part.content() }
            return CPUTime.now - start
        }
        // By turns, and of each the least: what disturbs a run only makes it longer.
        let inputs = (small: make(8_000), large: make(128_000))
        var (small, large) = (Double.infinity, Double.infinity)
        for _ in 0..<5 {
            small = min(small, seconds(inputs.small))
            large = min(large, seconds(inputs.large))
        }
        // 16 times the octets. Linear work takes 16 times as long, or about 35 times where the larger
        // input no longer fits the processor's cache; quadratic work takes 256 times as long.
        #expect(large < 96 * small, "\(name): \(small) s, then \(large) s")
    }

    @Test func `whatever octets come, it ends`() {
        let pieces: [[UInt8]] =
            [
                "Content-Type: multipart/mixed; boundary=b", "Content-Type: message/rfc822", "\r\n",
                "\r\n",
                "\n", "--b", "--b--", "\r", " ", ":", "=", "=?utf-8?q?", "?=", "A", "\"", "(", ";",
                "x*0*=",
                "Content-Transfer-Encoding: base64", "Content-Disposition: a; filename*=utf-8''%",
            ].map { Array($0.utf8) } + [[0x00], [0xFF, 0xC3]]
        var random = SystemRandomNumberGenerator()
        for _ in 0..<2_000 {
            let chosen = (0..<Int.random(in: 0...40, using: &random)).map { _ in
                pieces.randomElement(using: &random) ?? []
            }
            let octets = Array(chosen.joined())
            let message = MIMEMessage(octets)
            for part in message.parts {
                #expect(part.range.upperBound <= octets.count, "\(octets)")
                #expect(part.content().count <= octets.count, "\(octets)")
                _ = part.text()
            }
        }
    }

    @Test func `a plugin gets the parts of the message as it now is`() async throws {
        let folder = try TestFolder()
        try folder.write("old\r\n--b\r\n\r\nx\r\n--b--\r\n", to: "m")
        let file = MessageReference(path: "\(folder.path)/m", size: 22, bodyOffset: 3)
        let field = HeaderField(id: 1, name: "Content-Type", value: " multipart/x; boundary=b")
        let mime = try await Message(headers: [field], file: file).mime(limit: 1_000)
        #expect(self.outline(mime.root) == "multipart/x(text/plain[x])")
        await #expect(throws: PluginError.self) {
            try await Message(headers: [field], file: file).mime(limit: 10)
        }
    }
}

/// What this thread has used of the processor.
private enum CPUTime {
    static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
