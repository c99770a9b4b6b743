import SMTPCore
import Testing

struct MailboxTests {
    static let x64 = String(repeating: "x", count: 64)
    static let x63 = String(repeating: "x", count: 63)
    /// 255 octets, in labels of 63.
    static let domain255 = [x63, x63, x63, x63].joined(separator: ".")

    static let good: [(String, local: String, domain: String, Mailbox.DomainKind)] = [
        ("a@b", "a", "b", .name),
        ("bob@example.org", "bob", "example.org", .name),
        ("Bob.Smith@Example.ORG", "Bob.Smith", "Example.ORG", .name),
        ("bob+tag@example.org", "bob+tag", "example.org", .name),
        ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~", "example.org", .name),
        ("1@2", "1", "2", .name),
        ("a@1.2.3.4", "a", "1.2.3.4", .name),
        ("a@x-y.example", "a", "x-y.example", .name),
        ("a@x--y.example", "a", "x--y.example", .name),
        ("a@xn--bcher-kva.example", "a", "xn--bcher-kva.example", .name),
        ("a@123.example", "a", "123.example", .name),
        ("user%host@example.org", "user%host", "example.org", .name),
        ("\(x64)@b", x64, "b", .name),
        ("a@\(x63).example", "a", "\(x63).example", .name),
        // Quoted strings.
        ("\"\"@b", "\"\"", "b", .name),
        ("\"a\"@b", "\"a\"", "b", .name),
        ("\"a b\"@b", "\"a b\"", "b", .name),
        ("\"a@c\"@b", "\"a@c\"", "b", .name),
        ("\"a>c\"@b", "\"a>c\"", "b", .name),
        ("\"..\"@b", "\"..\"", "b", .name),
        ("\"a\\\"c\"@b", "\"a\\\"c\"", "b", .name),
        ("\"a\\\\\"@b", "\"a\\\\\"", "b", .name),
        ("\"\\ \"@b", "\"\\ \"", "b", .name),
        // RFC 6531.
        ("ü@b", "ü", "b", .name),
        ("\"ü x\"@b", "\"ü x\"", "b", .name),
        ("用户@例子.广告", "用户", "例子.广告", .name),
        ("a@bücher.example", "a", "bücher.example", .name),
        // A combining mark and a line separator are octets like any other.
        ("a\u{301}@b", "a\u{301}", "b", .name),
        ("a@b\u{2028}", "a", "b\u{2028}", .name),
        // Address literals.
        ("a@[192.0.2.1]", "a", "[192.0.2.1]", .ipv4),
        ("a@[0.0.0.0]", "a", "[0.0.0.0]", .ipv4),
        ("a@[255.255.255.255]", "a", "[255.255.255.255]", .ipv4),
        ("a@[IPv6:::]", "a", "[IPv6:::]", .ipv6),
        ("a@[IPv6:::1]", "a", "[IPv6:::1]", .ipv6),
        ("a@[ipv6:2001:DB8::1]", "a", "[ipv6:2001:DB8::1]", .ipv6),
        ("a@[IPv6:1:2:3:4:5:6:7:8]", "a", "[IPv6:1:2:3:4:5:6:7:8]", .ipv6),
        ("a@[IPv6:1:2:3:4:5:6::]", "a", "[IPv6:1:2:3:4:5:6::]", .ipv6),
        ("a@[IPv6:::1:2:3:4:5:6]", "a", "[IPv6:::1:2:3:4:5:6]", .ipv6),
        ("a@[IPv6:1:2:3:4:5:6:192.0.2.1]", "a", "[IPv6:1:2:3:4:5:6:192.0.2.1]", .ipv6),
        ("a@[IPv6:::ffff:192.0.2.1]", "a", "[IPv6:::ffff:192.0.2.1]", .ipv6),
        ("a@[IPv6:1:2:3:4::192.0.2.1]", "a", "[IPv6:1:2:3:4::192.0.2.1]", .ipv6),
        ("a@[X400:c=de;a=dbp]", "a", "[X400:c=de;a=dbp]", .general),
        ("a@[x-y:z]", "a", "[x-y:z]", .general),
        ("a@[2001:db8::1]", "a", "[2001:db8::1]", .general),
    ]

    @Test(arguments: good)
    func `an address of RFC 5321 is read as it stands`(
        text: String,
        local: String,
        domain: String,
        kind: Mailbox.DomainKind
    ) throws {
        let mailbox = try Mailbox(address: octets(text))
        #expect(mailbox.octets == octets(text))
        #expect(Array(mailbox.localPart) == octets(local))
        #expect(Array(mailbox.domain) == octets(domain))
        #expect(mailbox.domainKind == kind)
        #expect(mailbox.isNonASCII == text.utf8.contains { $0 >= 0x80 })
    }

    static let bad: [String] = [
        "", "@", "a", "a@", "@b", "a@@b", "a@b@c", "a b@c", "a@b c", " a@b", "a@b ",
        ".a@b", "a.@b", "a..b@c", ".@b", "a@.b", "a@b.", "a@b..c", "a@.",
        "a@-b", "a@b-", "a@b-.c", "a@b.-c", "a@-", "a@b_c.example", "a@b!c",
        "a(c)@b", "a,b@c", "a;b@c", "a:b@c", "a<b@c", "a>b@c", "a[b@c", "a]b@c", "a\\b@c",
        "a\"b\"@c", "\"a\"b@c", "\"a\".b@c", "\"@b", "\"a@b", "\"a\\\"@b", "\"a\nb\"@c",
        "\"a\tb\"@c", "\"a\u{0}b\"@c", "\"a\\\u{7F}\"@c", "\"a\"c\"@b", "a\u{0}@b", "a\u{7F}@b",
        "a@b\u{0}", "a\r\n@b", "a@b\r\n",
        "a@[]", "a@[", "a@]", "a@[1.2.3.4", "a@1.2.3.4]", "a@[1.2.3]", "a@[1.2.3.4.5]",
        "a@[256.1.1.1]", "a@[1.1.1.1111]", "a@[ 1.2.3.4]", "a@[1.2.3.4]x", "a@[1.2.3.4].com",
        "a@[IPv6:]", "a@[IPv6::]", "a@[IPv6:1]", "a@[IPv6:1:2:3:4:5:6:7]",
        "a@[IPv6:1:2:3:4:5:6:7:8:9]", "a@[IPv6:1:2:3:4:5:6:7::]", "a@[IPv6:1::2::3]",
        "a@[IPv6:12345::]", "a@[IPv6:g::]", "a@[IPv6:1:::2]", "a@[IPv6:1:2:]", "a@[IPv6::1:2]",
        "a@[IPv6:1:2:3:4:5:192.0.2.1]", "a@[IPv6:1:2:3:4:5::192.0.2.1]",
        "a@[IPv6:::192.0.2.1:1]", "a@[IPv6:::256.0.2.1]", "a@[x]", "a@[x:]",
        "a@[:x]", "a@[x-:y]", "a@[x:a b]", "a@[x:a[b]", "a@[x:a\\b]", "<a@b>", "a@b>", "<>",
        "\(String(repeating: "x", count: 253))@b", "a@\(x63)x.example", "a@\(domain255).x",
    ]

    @Test(arguments: bad)
    func `anything else is refused`(text: String) {
        #expect(throws: PathError.self) { try Mailbox(address: octets(text)) }
    }

    static let tolerated: [(String, PathGrammar.Options, String)] = [
        ("a@b_c.example", .underscoreInDomain, "a@b_c.example"),
        ("a@_b_.example_", .underscoreInDomain, "a@_b_.example_"),
        ("a@b.", .trailingDot, "a@b"), ("a@b.c.example.", .trailingDot, "a@b.c.example"),
        ("a..b@c", .dotsInLocalPart, "a..b@c"), ("a.@b", .dotsInLocalPart, "a.@b"),
        ("a...b..@c", .dotsInLocalPart, "a...b..@c"),
        ("a..@b_c.", .anyAddress, "a..@b_c"),
    ]

    @Test(arguments: tolerated)
    func `an option takes one form and no other`(
        text: String,
        option: PathGrammar.Options,
        kept: String
    ) throws {
        let mailbox = try Mailbox(address: octets(text), options: option)
        #expect(mailbox.octets == octets(kept))
        #expect(Array(mailbox.localPart) + octets("@") + Array(mailbox.domain) == octets(kept))
        let others = PathGrammar.Options.anyAddress.subtracting(option)
        #expect(throws: PathError.self) { try Mailbox(address: octets(text), options: others) }
    }

    @Test(arguments: [
        ".a@b", "..@b", ".@b", "a@.", "a@b..", "a@.b", "a@b..c", "a@-b.", "a@b-.", "a@b_-.c",
        "\"a\".@b", "a@[1.2.3.4].", "a@b!c", "a@b.>", "a@b.@",
    ])
    func `no option takes anything else`(text: String) {
        #expect(throws: PathError.self) {
            try Mailbox(address: octets(text), options: .anyAddress)
        }
    }

    static let notUTF8: [[UInt8]] = [
        [0x80], [0xBF], [0xC0, 0xAF], [0xC1, 0x81], [0xC3], [0xE0, 0x80, 0x80], [0xE0, 0x9F, 0xBF],
        [0xED, 0xA0, 0x80], [0xF0, 0x8F, 0xBF, 0xBF], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80],
        [0xFE], [0xFF], [0xE2, 0x80], [0xC3, 0x28],
    ]

    @Test(arguments: notUTF8)
    func `octets that are not UTF-8 are refused in every part`(octetsInPart: [UInt8]) {
        let part = octetsInPart
        for address in [
            part + octets("@b"), octets("a@") + part, octets("\"") + part + octets("\"@b"),
            octets("a@b.") + part + octets(".c"), octets("a@[x:") + part + octets("]"),
        ] {
            #expect(throws: PathError.self) { try Mailbox(address: address) }
        }
    }

    @Test func `a path has 254 octets at most between its brackets, also one of a worker`() throws {
        let longest = octets("\(String(repeating: "x", count: 250))@b.c")
        _ = try ReversePath(address: longest)
        _ = try ForwardPath(address: longest)
        #expect(throws: PathError.tooLong) { try ReversePath(address: longest + octets("d")) }
        #expect(throws: PathError.tooLong) { try ForwardPath(address: longest + octets("d")) }
    }

    @Test func `each limit holds at its maximum and not beyond`() throws {
        let x252 = String(repeating: "x", count: 252)
        _ = try Mailbox(address: octets("\(x252)@b"))
        #expect(throws: PathError.tooLong) { try Mailbox(address: octets("\(x252)x@b")) }
        _ = try Mailbox(address: octets("a@\(Self.domain255)"))
        #expect(throws: PathError.tooLong) {
            try Mailbox(address: octets("a@\(Self.domain255.dropLast()).x"))
        }
    }

    @Test(arguments: [
        ("joe@b", "joe"), ("\"joe\"@b", "joe"), ("\"j\\oe\"@b", "joe"), ("\"a\\\\b\"@b", "a\\b"),
        ("\"a\\\"b\"@b", "a\"b"), ("\"\"@b", ""), ("\"a\\\\\\\\\"@b", "a\\\\"),
    ])
    func `quotes and backslashes do not make another mailbox`(text: String, local: String) throws {
        #expect(try Mailbox(address: octets(text)).canonicalLocalPart == octets(local))
    }

    @Test func `a path from a worker may be null, a mailbox or the postmaster`() throws {
        #expect(try ReversePath(address: []) == .null)
        #expect(try ReversePath(address: octets("a@b")).address == octets("a@b"))
        #expect(throws: PathError.self) { try ReversePath(address: octets("postmaster")) }
        #expect(try ForwardPath(address: octets("PostMaster")) == .postmaster(octets("PostMaster")))
        #expect(try ForwardPath(address: octets("a@b")).domain == octets("b")[...])
        #expect(throws: PathError.self) { try ForwardPath(address: []) }
    }
}
