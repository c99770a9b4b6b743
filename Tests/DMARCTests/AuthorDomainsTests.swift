import DMARC
import DomainNames
import Testing

struct AuthorDomainsTests {
    private func domains(_ value: String) -> [String] {
        AuthorDomains(Array(value.utf8)).domains.map(\.text)
    }

    @Test(arguments: [
        ("jo@example.org", ["example.org"]),
        (" Jo <jo@Example.ORG>\r\n", ["example.org"]),
        ("\"Jo, of <x@evil.example>\" <jo@example.org>", ["example.org"]),
        ("Jo (not \\) <x@evil.example> (or, y@evil.example)) <jo@example.org>", ["example.org"]),
        ("jo@example.org (Jo)", ["example.org"]),
        ("Jo <jo @ example . org>", ["example.org"]),
        ("jo@exam(comment)ple.org", ["exam"]),
        ("\"a@b\"@example.org", ["example.org"]),
        ("<@relay.example,@b.example:jo@example.org>", ["example.org"]),
        ("jo@example.org, al@Example.org", ["example.org"]),
        ("jo@example.org, al@example.net", ["example.org", "example.net"]),
        ("Team: jo@example.org, Al <al@example.net>;", ["example.org", "example.net"]),
        ("Undisclosed:;", []),
        ("jo@example.org <jo@example.net>", ["example.net"]),
        ("<jo@example.org> al@example.net", ["example.org", "example.net"]),
        ("<jo@example.org> <al@example.net>", ["example.org", "example.net"]),
        (
            "<jo@example.org> al@example.net <x@example.com>",
            ["example.org", "example.net", "example.com"]
        ),
        ("jo@example.org al@example.net", ["example.org", "example.net"]),
        ("<jo@example.org@example.net>", ["example.org", "example.net"]),
        // What nothing closes.
        ("\"Jo <jo@example.org>", ["example.org"]),
        ("Jo (x <jo@example.org>", ["example.org"]),
        ("Jo [x <jo@example.org>", ["example.org"]),
        ("Jo <jo@example.org", ["example.org"]),
        ("jo@\u{E4}.example", ["xn--4ca.example"]),
        ("=?UTF-8?Q?x=40evil.example?= <jo@example.org>", ["example.org"]),
        ("", []), ("Jo", []), ("Jo <>", []), ("jo@", []), ("@", []), ("jo@.", []),
    ])
    func `a field has these domains`(value: String, expected: [String]) {
        #expect(self.domains(value) == expected)
    }

    @Test(arguments: [
        ("jo@[192.0.2.1]", 1), ("jo@exa_mple.org", 0), ("jo@a..b", 1), ("jo@exam!ple.org", 1),
        ("jo@example.org, x@[IPv6:::1], y@", 2),
    ])
    func `what is no name is counted`(value: String, count: Int) {
        #expect(AuthorDomains(Array(value.utf8)).unreadable == count)
    }

    @Test func `any octets are taken, in time that is in proportion`() {
        for text in ["\"", "(", "[", "<", "\\\"", "(\\", "<a@b.c>", "a@b,", "@"] {
            let field = Array(String(repeating: text, count: 100_000).utf8)
            #expect(AuthorDomains(field).domains.count <= AuthorDomains.maximumCount)
        }
        let alphabet = Array("a@.<>,;:()[]\"\\ \r\n\u{FC}".utf8)
        for _ in 0..<2_000 {
            let field = (0..<40).map { _ in alphabet.randomElement() ?? 0 }
            #expect(AuthorDomains(field).domains.count <= 40)
        }
    }
}
