import DomainNames
import PublicSuffixes
import Testing

struct PublicSuffixListTests {
    private static let list = PublicSuffixList(
        Array(
            """
            // ===BEGIN ICANN DOMAINS===
            com
            uk
            co.uk  trailing words are no part of it
            *.ck
            !www.ck
            \u{516C}\u{53F8}.cn
            a..b
            !
            *.

            // ===BEGIN PRIVATE DOMAINS===
            blog.example
            *.cloud.example
            """.utf8
        )
    )

    private func domain(_ name: String) throws -> String? {
        Self.list.registeredDomain(of: try #require(DNSName(name)))?.text
    }

    @Test(
        arguments: [
            ("example.com", "example.com"), ("a.b.example.com", "example.com"), ("com", nil),
            ("a.b.co.uk", "b.co.uk"), ("b.uk", "b.uk"), ("co.uk", nil), ("UK.", nil),
            // A wildcard, and what is taken out of it.
            ("a.b.c.ck", "b.c.ck"), ("c.ck", nil), ("ck", nil), ("a.www.ck", "www.ck"),
            ("www.ck", "www.ck"),
            // A-labels.
            ("a.xn--55qx5d.cn", "a.xn--55qx5d.cn"), ("xn--55qx5d.cn", nil),
            ("mail.a.\u{516C}\u{53F8}.cn", "a.xn--55qx5d.cn"),
            // Private names.
            ("x.jo.blog.example", "jo.blog.example"),
            ("x.jo.eu.cloud.example", "jo.eu.cloud.example"),
            // No rule.
            ("a.b.test", "b.test"), ("test", nil),
        ] as [(String, String?)]
    )
    func `a name has a registered domain`(name: String, registered: String?) throws {
        #expect(try self.domain(name) == registered)
    }

    @Test func `lines that are no rule are left out`() {
        #expect(Self.list.count == 8)
        #expect(PublicSuffixList([]).count == 0)
    }

    @Test func `a list without rules takes each last label`() throws {
        let name = try #require(DNSName("a.b.co.uk"))
        #expect(PublicSuffixList().registeredDomain(of: name)?.text == "co.uk")
    }

    @Test func `any octets are taken`() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            let octets = (0..<300).map { _ in
                Array("com.*!\n/ \u{FC}".utf8).randomElement(using: &random) ?? 0
            }
            _ = PublicSuffixList(octets)
        }
    }
}
