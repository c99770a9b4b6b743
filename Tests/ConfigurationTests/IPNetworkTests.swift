import Testing

@testable import Configuration

@Suite struct IPAddressTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"),
        ("::", "::"), ("::1", "::1"), ("2001:DB8::1", "2001:db8::1"), ("1::", "1::"),
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("::192.0.2.1", "::c000:201"),
        ("::ffff:192.0.2.1", "192.0.2.1"), ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
    ])
    func `a literal is read and printed as RFC 5952 has it`(text: String, printed: String) throws {
        #expect(try #require(IPAddress(parsing: text)).description == printed)
    }

    @Test(arguments: [
        "", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.4 ", "a.b.c.d", "1..2.3",
        ":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "g::", "+1::",
        "1:2:3:4:5:6:7:8::", "[::1]", "::1%eth0", "1.2.3.4::", "::1.2.3", "fe80::1/64",
    ])
    func `text that is no address literal is refused`(text: String) {
        #expect(IPAddress(parsing: text) == nil)
    }
}

@Suite struct IPNetworkTests {
    @Test(arguments: [
        ("192.0.2.0/24", "192.0.2.0", true), ("192.0.2.0/24", "192.0.2.255", true),
        ("192.0.2.0/24", "192.0.3.0", false), ("192.0.2.7/24", "192.0.2.1", true),
        ("192.0.2.1/32", "192.0.2.1", true), ("192.0.2.1/32", "192.0.2.2", false),
        ("192.0.2.1", "192.0.2.1", true), ("0.0.0.0/0", "203.0.113.9", true),
        ("0.0.0.0/0", "::1", false), ("192.168.1.", "192.168.1.200", true),
        ("192.168.1.", "192.168.10.1", false), ("10.", "10.255.0.1", true),
        ("192.0.2.0/255.255.255.128", "192.0.2.127", true),
        ("192.0.2.0/255.255.255.128", "192.0.2.128", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::", false),
        ("2001:db8::1/128", "2001:db8::1", true), ("2001:db8:", "2001:db8:1::", true),
        ("2001:db8:", "2001:db80::", false), ("::/0", "2001:db8::1", true),
        ("::/0", "192.0.2.1", false), ("::1", "::1", true),
        ("::ffff:192.0.2.0/120", "192.0.2.9", true), ("2001:db8::", "2001:db8::", true),
        ("2001:db8::", "2001:db8::1", false),
    ])
    func `first and last address are inside`(
        network: String,
        address: String,
        isInside: Bool
    ) throws {
        let network = try #require(IPNetwork(parsing: network))
        #expect(network.contains(try #require(IPAddress(parsing: address))) == isInside)
    }

    @Test(arguments: [
        "", "/", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/+1", "192.0.2.0/024",
        "2001:db8::/129", "192.168.1", "192.168..", ".", "1.2.3.4.", "256.", "example.org",
        "192.0.2.0/255.0.255.0", "2001:db8::/255.255.0.0", "1:2:3:4:5:6:7:8:",
    ])
    func `text that is no network is refused`(text: String) {
        #expect(IPNetwork(parsing: text) == nil)
    }

    @Test func `an IPv4 client on an IPv6 socket is the IPv4 client`() throws {
        let network = try #require(IPNetwork(parsing: "192.0.2.0/24"))
        #expect(network.contains(IPAddress(ipv6: 0xffff_c000_0201)))
    }

    @Test(arguments: [
        ("127.0.0.1:2525", "127.0.0.1:2525"), ("[::1]:25", "[::1]:25"), ("*:25", "[::]:25"),
        ("localhost:0", "127.0.0.1:0"), ("[::ffff:127.0.0.1]:25", "[::ffff:7f00:1]:25"),
        ("unix:/run/lmtp.sock", "unix:/run/lmtp.sock"),
    ])
    func `a listener's address is read`(text: String, printed: String) throws {
        #expect(try #require(ListenAddress(parsing: text)).description == printed)
    }

    @Test(arguments: [
        "", ":", ":25", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "::1:25",
        "[127.0.0.1]:25", "mx.example.org:25", "127.0.0.1:+25", "[::1]25",
        "unix:", "unix:lmtp.sock", "unix:/", "unix:/run/",
        "unix:/" + String(repeating: "x", count: 107),
    ])
    func `text that is no listener's address is refused`(text: String) {
        #expect(ListenAddress(parsing: text) == nil)
    }

    @Test(arguments: [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("2001:db8:1:2::", "2001:db8:1:2::"),
        ("::1", "::"), ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"),
    ])
    func `a client has an IPv4 address or an IPv6 slash 64`(text: String, network: String) throws {
        let address = try #require(IPAddress(parsing: text))
        #expect("\(address.clientNetwork)" == network)
    }

    @Test(arguments: [
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::"), ("2001:db8:1::", "2001:db8:1::"),
        ("192.0.2.255", "192.0.2.0"), ("192.0.2.0", "192.0.2.0"),
        ("::ffff:192.0.2.1", "192.0.2.0"),
    ])
    func `a client's site is a slash 24 or a slash 48`(text: String, site: String) throws {
        let address = try #require(IPAddress(parsing: text))
        #expect("\(address.clientSite)" == site)
    }
}
