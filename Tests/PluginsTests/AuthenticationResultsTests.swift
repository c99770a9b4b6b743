import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

struct AuthenticationResultsTests {
    private static let iprev = NoteKey<String>("iprev", in: .session)

    private static func session(_ arguments: String = "") async throws -> TestSession {
        try await TestSession(
            [AuthenticationResultsField.self],
            plugins: "authentication_results \(arguments)",
            files: ["me": "mx1.example.com"]
        )
    }

    @Test func `the field has what is known, session first`() async throws {
        let session = try await Self.session()
        session.clientIP = "2001:db8::1"
        session.setNote(Self.iprev, to: "pass")
        session.authentication = .init(mechanism: "PLAIN", user: "jo@example.com")
        try await session.mail(from: "bob@example.org")
        session.setNote(
            .authenticationResults,
            to: ["spf=pass smtp.mailfrom=example.org", "dkim=fail (bad) header.d=a.b"]
        )
        try await session.message("Subject: x\r\n\r\n")
        #expect(session.headers.map(\.name) == ["Authentication-Results", "Subject"])
        #expect(
            session.headers.first?.value.string
                == " mx1.example.com;\r\n\tiprev=pass policy.iprev=\"2001:db8::1\";\r\n\t"
                + "auth=pass smtp.auth=jo@example.com;\r\n\tspf=pass smtp.mailfrom=example.org;\r\n\t"
                + "dkim=fail (bad) header.d=a.b"
        )
    }

    @Test func `without results it says none, and a transaction's results are its own`()
        async throws
    {
        let session = try await Self.session("authserv_id my.id")
        try await session.mail(from: "bob@example.org")
        session.setNote(.authenticationResults, to: ["spf=pass smtp.mailfrom=a.b"])
        try await session.message("Subject: x\r\n\r\n")
        try await session.mail(from: "bob@example.org")
        try await session.message("Subject: x\r\n\r\n")
        #expect(session.headers.first?.value.string == " my.id; none")
    }

    @Test(arguments: [
        ("jo", "smtp.auth=jo"), ("jo e", "smtp.auth=\"jo e\""), ("a@b@c", "smtp.auth=\"a@b@c\""),
        ("jo\"\\", "smtp.auth=\"jo\\\"\\\\\""), ("", nil), ("j\u{7}", nil), ("jø", nil),
        ("a;b", nil),
    ])
    func `a user is a property that can be read`(user: String, property: String?) async throws {
        let session = try await Self.session()
        session.authentication = .init(mechanism: "PLAIN", user: Bytes(user))
        try await session.mail(from: "bob@example.org")
        try await session.message("Subject: x\r\n\r\n")
        let value = try #require(session.headers.first?.value)
        #expect(
            value.string == " mx1.example.com;\r\n\tauth=pass" + (property.map { " \($0)" } ?? "")
        )
        #expect(ParsedResults(value.octets)?.results.map(\.method) == ["auth"])
    }

    @Test func `a result that is none is left out`() async throws {
        let session = try await Self.session()
        try await session.mail(from: "bob@example.org")
        session.setNote(
            .authenticationResults,
            to: [
                "spf=pass; dkim=pass", "spf", "x=y\r\nX-Bad: 1", "spf=pass smtp.mailfrom=",
                "spf=pass (",
                "none", "", "dmarc=pass header.from=a.b",
                "x=y (a)(b) reason=\"c\\\"d\" p.q=r@s p.t=\"u\"",
            ]
        )
        try await session.message("Subject: x\r\n\r\n")
        #expect(
            session.headers.first?.value.string
                == " mx1.example.com;\r\n\tdmarc=pass header.from=a.b;\r\n\t"
                + "x=y (a)(b) reason=\"c\\\"d\" p.q=r@s p.t=\"u\""
        )
    }

    /// Values, and whether they are taken for ours.
    private static let values: [(String, Bool)] = [
        ("mx1.example.com; none", true), (" MX1.Example.COM; spf=pass", true),
        ("mx1.example.com 1; none", true), ("\r\n mx1.example.com\r\n\t; none", true),
        ("(c) mx1.example.com (d (e) \\) ) 1 (f); spf=pass", true),
        ("\"mx1.example.com\"; none", true),
        ("\"mx1\\.example.com\"; none", true), ("\"mx1.\r\n example.com\"; none", false),
        ("mx1.example.com", true), ("mx1.example.com;", true), ("mx1.example.com/1; none", true),
        ("mx1.(x)example.com; none", true), ("mx1.exam\r\n ple.com; none", true),
        ("mx1.example.com\r\n; none", true), ("(mx1.example.com; none", true),
        ("mx1.example.com spf=pass", true), ("mx1.example.com; spf", true),
        ("mx1.example.com.; none", true), ("x mx1.example.com; none", true),
        ("mx1.exa\u{0}mple.com; none", true), ("mx1.example.com; spf=pass x.y=\"", true),
        ("mx1.e(\\)x)xample.com; none", true), ("other.example; none", false),
        ("other.example; spf=pass (mx1.example.com: ok) smtp.mailfrom=a.b", false),
        ("other.example; iprev=pass policy.iprev=2001:db8::1 smtp.helo=mx1.example.com", false),
        ("other.example; spf=pass smtp.mailfrom=@mx1.example.com; x=y", false),
        ("notmx1.example.com; none", false), ("mx1.example.com.evil.example; none", false),
        ("other.example; spf=pass garbage", false), ("", false), ("(", false),
        ("other.example; spf=pass garbage mx1.example.com", true),
    ]

    @Test(arguments: values) func `a field is ours, or may be taken for ours`(
        value: String,
        isOurs: Bool
    ) {
        #expect(OwnResults(server: "mx1.example.com").claims(Array(value.utf8)) == isOurs)
    }

    @Test func `a name that is not ASCII has two spellings`() {
        for server in ["bücher.example", "xn--bcher-kva.example"] {
            let own = OwnResults(server: server)
            for value in ["BÜCHER.example; none", "xn--BCHER-kva.example; none"] {
                #expect(own.claims(Array(value.utf8)), "\(server) \(value)")
            }
        }
    }

    @Test(arguments: [
        ("keep", ["Authentication-Results", "X", "Authentication-Results"]),
        ("rename", ["Authentication-Results", "X", "Original-Authentication-Results"]),
        ("remove", ["Authentication-Results", "X"]),
    ])
    func `forged fields go, others stay, are renamed or go`(
        foreign: String,
        names: [String]
    ) async throws {
        let session = try await Self.session("foreign \(foreign)")
        try await session.mail(from: "bob@example.org")
        try await session.message(
            "authentication-results : mx1.example.com; spf=pass\r\nX: y\r\n"
                + "Authentication-Results: other.example; spf=pass\r\n"
                + "AUTHENTICATION-RESULTS:\r\n \"MX1.example.com\" 1;\r\n dkim=pass\r\n\r\n"
        )
        #expect(session.headers.map { $0.name.string ?? "" } == names)
        #expect(session.headers.first?.value.string == " mx1.example.com; none")
        #expect(session.headers.dropFirst(2).allSatisfy { $0.value == " other.example; spf=pass" })
    }

    @Test func `of too many fields none is kept`() async throws {
        for count in [30, 31, 3_000] {
            let session = try await Self.session("foreign rename")
            try await session.mail(from: "bob@example.org")
            let forged = "Authentication-Results: mx1.example.com; spf=pass\r\n"
            let foreign = "Authentication-Results: other.example; spf=pass\r\n"
            try await session.message(
                String(repeating: forged, count: count - 1) + foreign + "X: y\r\n\r\n"
            )
            #expect(session.headers.count == (count == 30 ? 3 : 2))
            #expect(session.headers.first?.value.string == " mx1.example.com; none")
        }
    }

    @Test func `relay clients get the field as well`() async throws {
        let session = try await Self.session()
        session.relay = true
        try await session.mail(from: "bob@example.org")
        try await session.message("Subject: x\r\n\r\n")
        #expect(session.headers.count == 2)
    }

    // MARK: The parser

    @Test func `a field is read whole`() throws {
        let text =
            "(a) \"m\\\"x\" 1 (b); spf = pass (c) reason = \"d;e\" smtp . mailfrom = \"f g\"@h.i\r\n"
            + "\tsmtp.helo=j (k); dkim/1=fail header.i=@l.m header.b=ab/+c=="
        let parsed = try #require(ParsedResults(Array(text.utf8)))
        #expect(parsed.server == Array("m\"x".utf8))
        #expect(parsed.results.map(\.method) == ["spf", "dkim"])
        #expect(parsed.results.map(\.result) == ["pass", "fail"])
        #expect(
            parsed.results.map(\.properties) == [
                ["smtp.mailfrom", "smtp.helo"], ["header.i", "header.b"],
            ]
        )
        #expect(ParsedResults(Array("a; none (b) ".utf8))?.results.isEmpty == true)
    }

    @Test(arguments: [
        "", ";", "a", "a;", "a b; none", "a; none; none", "a; none x", "a; x", "a; x=", "a; =y",
        "a; x=y z",
        "a; x=y z.=1", "a; x=y .z=1", "a; x=y z.w", "a; x=y z.w=", "a; x=y reason=", "a; x/=y",
        "a; x/b=y",
        "a; x=y;", "a; x=y z.w=\"", "a; x=y z.w=\"v\"u.v=w", "(a; none", "a); none", "\"a; none",
        "\"a\\", "a\u{1}; none", "a\r\n; none", "a\n ; none", "a\r ; none", "(\u{0})a; none", "(\\",
        "a@b; none",
    ])
    func `what breaks the grammar is not read`(text: String) {
        #expect(ParsedResults(Array(text.utf8)) == nil)
    }

    @Test func `damage never makes our field another's`() {
        let own = OwnResults(server: "mx1.example.com")
        let text = Array(" (c) \"mx1.example.com\" 1; spf=pass (x) smtp.mailfrom=a@b.c".utf8)
        for end in 0...text.count { _ = own.claims(Array(text[..<end])) }
        // Whatever follows the name, unless it makes it a longer name.
        let octets = UInt8.min ... .max
        let lost = octets.filter { octet in
            [[octet], [0x20, octet], [0x3B, octet]].contains { tail in
                !own.claims(Array("mx1.example.com".utf8) + tail + [0x3B, 0x20, 0x78])
                    && !Self.isName(octet, tail)
            }
        }
        #expect(lost.isEmpty)
        for start in 0..<text.count {
            for octet: UInt8 in [0, 0x22, 0x28, 0x29, 0x3B, 0x5C, 0xFF] {
                var damaged = text
                damaged[start] = octet
                _ = own.claims(damaged)
            }
        }
    }

    /// Whether an octet behind the name makes it a longer name.
    private static func isName(_ octet: UInt8, _ tail: [UInt8]) -> Bool {
        tail.first == octet && (ResultText.isTokenOctet(octet) || octet >= 0x80)
    }
}
