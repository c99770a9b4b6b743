import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

struct URIHostsTests {
    private func found(_ text: String, isHTML: Bool = false) -> (uris: [String], bare: [String]) {
        var hosts = URIHosts()
        hosts.read(Array(text.utf8), isHTML: isHTML)
        func words(_ hosts: [URIHosts.Host]) -> [String] {
            hosts.map {
                switch $0 {
                case .name(let name): name.text
                case .address(let address): "\(address)"
                }
            }
        }
        return (words(hosts.inURIs), words(hosts.bare))
    }

    @Test(arguments: [
        ("see http://www.Evil.example/path?x", ["www.evil.example"]),
        ("<a href='https://evil.example'>", ["evil.example"]),
        ("ftp://user:p@ss@evil.example:21/", ["evil.example"]),
        ("http:\\\\evil.example\\x", ["evil.example"]), ("http:/evil.example", ["evil.example"]),
        ("http:///evil.example.", ["evil.example"]), ("(http://evil.example).", ["evil.example"]),
        ("http://e%76il%2eexample/", ["evil.example"]),
        ("http://b.example/?u=http%3A%2F%2Fevil.example", ["b.example", "evil.example"]),
        ("http://a.example http://a.example https://b.example", ["a.example", "b.example"]),
        // Addresses, as browsers read them.
        ("http://192.0.2.7/", ["192.0.2.7"]), ("http://0xC0.0.2.07/", ["192.0.2.7"]),
        ("http://3221225991/", ["192.0.2.7"]), ("http://0300.0.2.7/", ["192.0.2.7"]),
        ("http://[2001:db8::7]:80/", ["2001:db8::7"]),
        ("http://\u{E4}.example/", ["xn--4ca.example"]),
        // None.
        ("http://localhost/ http:// a://b.example x:/ http:", []),
        ("http://192.0.2.256.7/ http://1.2.3", ["192.0.2.256.7", "1.2.3"]),
        ("at 10:/11", []),
    ])
    func `URIs name hosts`(text: String, hosts: [String]) {
        #expect(self.found(text).uris == hosts)
    }

    @Test(arguments: [
        ("go to www.evil.example, now", ["www.evil.example"]),
        ("mail jo@evil.example.", ["evil.example"]), ("-evil.example-", ["evil.example"]),
        ("a.b... c..d e. .f 1.2 v1.0 x", ["a.b"]),
    ])
    func `other names are found`(text: String, hosts: [String]) {
        #expect(self.found(text).bare == hosts)
    }

    @Test func `HTML has numeric characters`() {
        let text = "&#104;ttp&colon;&#x2F;/evil&#46;exam&#x70;le&sol;x &#999999; &#; &x &#46"
        #expect(self.found(text, isHTML: true).uris == ["evil.example"])
        #expect(self.found(text).uris.isEmpty)
    }

    @Test func `any octets are taken, in time that is in proportion`() {
        for text in ["http://", ":/", "a.", "%2", "&#", "@", "http://a@", "\\"] {
            var hosts = URIHosts()
            hosts.read(Array(String(repeating: text, count: 100_000).utf8), isHTML: true)
            #expect(hosts.inURIs.count <= URIHosts.maximumCount)
        }
        let alphabet = Array("htp:/.@%&#;a0x[]\\ \r\n\u{FC}".utf8)
        for _ in 0..<2_000 {
            var hosts = URIHosts()
            hosts.read((0..<60).map { _ in alphabet.randomElement() ?? 0 }, isHTML: true)
        }
        var many = URIHosts()
        many.read(Array((0..<3_000).map { "http://h\($0).example " }.joined().utf8), isHTML: false)
        #expect(many.inURIs.count == URIHosts.maximumCount)
    }
}

struct URIZoneTests {
    private func zone(_ line: String) throws -> URIZone {
        try URIZone(ControlLine(text: line, file: "uribl_zones", number: 3))
    }

    @Test(
        arguments: [
            ("multi.example", 0xFFFFFF, nil), ("multi.example 2,8 deny", 10, .deny),
            ("multi.example -1 add-header", 0xFFFFFF, .addHeader), ("multi.example 2", 2, nil),
            ("multi.example log", 0xFFFFFF, .log), ("multi.example 0", 0xFFFFFF, nil),
        ] as [(String, UInt32, URIZone.Action?)]
    )
    func `a line names a list`(line: String, mask: UInt32, action: URIZone.Action?) throws {
        let zone = try self.zone(line)
        #expect(zone.list.zone.text == "multi.example")
        #expect(zone.mask == mask && zone.action == action)
    }

    @Test(arguments: [
        "a..b", "multi.example x", "multi.example 2,", "multi.example 2 x",
        "multi.example 2 deny more", "multi.example 99999999999",
    ])
    func `a line that is wrong names itself`(line: String) {
        let error = #expect(throws: PluginError.self) { try self.zone(line) }
        #expect(error?.description.hasPrefix("uribl_zones:3: ") == true)
    }
}

/// A DNS with lists of hosts.
private func uriLists() -> TestResolver {
    TestResolver { name, type in
        switch (name, type) {
        case ("evil.test.multi.example", .a), ("evil.co.test.multi.example", .a),
            ("7.2.0.192.multi.example", .a), ("deep.good.test.multi.example", .a):
            return .records([.address("127.0.0.8")])
        case ("evil.test.multi.example", .txt): return .records([.text("see multi")])
        case (_, .a) where name.hasSuffix(".all.example"): return .records([.address("127.0.0.2")])
        case (_, .a) where name.hasSuffix(".down.example"): return .failure(.timedOut)
        default: return .nxdomain
        }
    }
}

struct URIBLTests {
    private static let suffixes = "test\nco.test\nexample\n"

    private func session(
        _ zones: String = "multi.example 8 deny",
        _ arguments: String = "",
        whitelist: String = "",
        resolver: TestResolver = uriLists()
    ) async throws -> TestSession {
        let session = try await TestSession(
            [URIBL.self],
            plugins: "uribl public_suffix_list config/suffixes \(arguments)",
            files: [
                "uribl_zones": zones, "uribl_whitelist_domains": whitelist,
                "suffixes": Self.suffixes,
            ],
            resolver: resolver
        )
        try await session.mail(from: "jo@list.example")
        return session
    }

    private func text(_ body: String, type: String = "text/plain") -> String {
        "Subject: x\r\nX-URIBL-Match: forged\r\nContent-Type: \(type)\r\n\r\n\(body)\r\n"
    }

    @Test(arguments: [
        ("http://www.evil.test/", "evil.test in multi.example: see multi"),
        ("a.b.evil.co.test", "evil.co.test in multi.example: 127.0.0.8"),
        ("http://192.0.2.7", "192.0.2.7 in multi.example: 127.0.0.8"),
        ("http://deep.good.test/", "deep.good.test in multi.example: 127.0.0.8"),
    ])
    func `a message that names a listed host is refused`(body: String, text: String) async throws {
        let session = try await self.session()
        let answer = try await session.message(self.text(body))
        #expect(answer == .deny("The message names \(text)", status: "5.7.1"))
        #expect(session.note(.uribl) == [text] && session.note(.karma) == -1)
    }

    @Test(arguments: [
        "", "http://good.test/", "http://co.test/", "http://test", "evil.unknown",
        "http://10.0.0.1/",
    ])
    func `any other is not`(body: String) async throws {
        let session = try await self.session("multi.example\nall.example\ndown.example 2 deny")
        #expect(try await session.message(self.text(body)) == .declined)
        #expect(session.note(.karma) == nil)
    }

    @Test func `masks choose the answers that count`() async throws {
        for (mask, verdict) in [
            ("8", Verdict.deny), ("2,8", .deny), ("2", .declined), ("-1", .deny),
        ] {
            let session = try await self.session("multi.example \(mask) deny")
            #expect(try await session.message(self.text("http://evil.test")).verdict == verdict)
        }
    }

    @Test(arguments: [
        ("multi.example", "", Verdict.declined, true),
        ("multi.example 8 log", "", .declined, false),
        ("multi.example", "action deny", .deny, false),
        ("multi.example", "action denysoft", .denysoft, false),
        ("multi.example 8 deny", "reject_type temp", .denysoft, false),
        ("multi.example 8 deny", "reject 0", .declined, false),
        ("multi.example 8 deny", "reject naughty", .declined, false),
    ])
    func `an action is the list's or the argument's`(
        zones: String,
        arguments: String,
        verdict: Verdict,
        hasField: Bool
    ) async throws {
        let session = try await self.session(zones, arguments)
        #expect(try await session.message(self.text("http://evil.test")).verdict == verdict)
        let fields = session.headers.filter { $0.name == "X-URIBL-Match" }.map(\.value)
        #expect(fields == (hasField ? [" evil.test in multi.example: see multi"] : []))
    }

    @Test func `parts are decoded`() async throws {
        let html = "<a href=\"http&#58;//evil&#46;test\">x</a>"
        let quoted = "http://www.ev=\r\nil=2Etest/"
        let base64 = "aHR0cDovL2V2aWwudGVzdC8="
        for (type, encoding, body) in [
            ("text/html", "8bit", html), ("text/plain", "quoted-printable", quoted),
            ("text/plain; charset=koi8-r", "base64", base64),
        ] {
            let part =
                "Content-Type: \(type)\r\nContent-Transfer-Encoding: \(encoding)\r\n\r\n\(body)\r\n"
            let whole =
                "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n\r\n"
                + "http://other.test\r\n--b\r\n\(part)--b--\r\n"
            let session = try await self.session()
            #expect(try await session.message(whole).verdict == .deny, "\(encoding)")
        }
        let image = try await self.session()
        #expect(
            try await image.message(self.text("http://evil.test", type: "image/png")) == .declined
        )
    }

    @Test func `the subject is read where the operator wants`() async throws {
        let message = "Subject: =?utf-8?B?aHR0cDovL2V2aWwudGVzdA==?=\r\n\r\nhello\r\n"
        for (arguments, verdict) in [
            ("", Verdict.declined), ("scan-headers 1", .deny), ("check-headers 1", .deny),
        ] {
            let session = try await self.session("multi.example 8 deny", arguments)
            #expect(try await session.message(message).verdict == verdict)
        }
    }

    @Test func `domains of the whitelist are not looked up, nor addresses if that is off`()
        async throws
    {
        let resolver = uriLists()
        let session = try await self.session(
            "multi.example",
            "checkip 0",
            whitelist: "evil.test\n",
            resolver: resolver
        )
        let answer = try await session.message(self.text("http://www.evil.test http://192.0.2.7"))
        #expect(answer == .declined && resolver.questions.isEmpty)
    }

    @Test func `a message has a limit of names, and domains come first`() async throws {
        let resolver = uriLists()
        let session = try await self.session("multi.example", resolver: resolver)
        let body = (0..<40).map { "http://www.h\($0).test\r\n" }.joined()
        try await session.message(self.text(body))
        let names = Set(resolver.questions.filter { $0.type == .a }.map(\.name))
        #expect(names.count == URIBL.maximumNames)
        #expect((0..<40).allSatisfy { names.contains("h\($0).test.multi.example") })
    }

    @Test func `of a long message the beginning is read`() async throws {
        let filler = String(repeating: "x y\r\n", count: 4_000)
        for (body, verdict) in [
            ("http://evil.test\r\n" + filler, Verdict.deny),
            (filler + "http://evil.test\r\n", .declined),
        ] {
            let session = try await self.session("multi.example 8 deny", "size_limit 10000")
            #expect(try await session.message(self.text(body)).verdict == verdict)
        }
    }

    @Test func `relay clients are left alone`() async throws {
        let session = try await self.session()
        session.relay = true
        #expect(try await session.message(self.text("http://evil.test")) == .declined)
    }

    @Test(arguments: ["action x", "checkip x", "scan-headers 1 check-headers 1", "size_limit 0"])
    func `mistakes are named`(arguments: String) async throws {
        await #expect(throws: (any Error).self) { _ = try await self.session("", arguments) }
    }
}
