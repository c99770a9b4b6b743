import Addresses
import DNSResolver
import DomainNames
import Testing

@Suite struct DNSNameTests {
    @Test(arguments: [
        ("192.0.2.1", "dnsbl.example", "1.2.0.192.dnsbl.example"),
        ("192.0.2.1", nil, "1.2.0.192.in-addr.arpa"),
        (
            "2001:db8::567:89ab", nil,
            "b.a.9.8.7.6.5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        ),
    ])
    func `an address backwards is a name`(
        address: String,
        zone: String?,
        name: String
    ) throws {
        let address = try #require(IPAddress(parsing: address))
        #expect(DNSName(reversing: address, under: zone.flatMap { DNSName($0) })?.text == name)
    }

    @Test func `an address backwards under a zone that is too long is no name`() throws {
        let address = try #require(IPAddress(parsing: "2001:db8::1"))
        let label = String(repeating: "a", count: 63)
        let zone = try #require(DNSName("\(label).\(label).\(label)"))
        #expect(DNSName(reversing: address, under: zone) == nil)
    }

    @Test(arguments: [
        ("Example.ORG", "example.org"), ("example.org.", "example.org"), ("a", "a"),
        ("_dmarc.example.org", "_dmarc.example.org"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("bücher.example", "xn--bcher-kva.example"), ("BÜCHER.example", "xn--bcher-kva.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"), ("中国", "xn--fiqs8s"),
        ("ليهمابتكلموشعربي؟", "xn--egbpdaj6bu4bxfgehfvwxn"),
    ])
    func `a domain becomes lower-case ASCII`(given: String, expected: String) {
        #expect(DNSName(given)?.text == expected)
    }

    @Test(arguments: [
        "", ".", "..", "a..b", ".a", "a b", "a\\000b", "a\u{0}b", "a/b", "[127.0.0.1]", "a@b",
        String(repeating: "a", count: 64), "ü b", String(repeating: "ü", count: 64),
        Array(repeating: "abcdefg", count: 32).joined(separator: "."),
    ])
    func `what the DNS cannot hold is no name`(given: String) {
        #expect(DNSName(given) == nil)
    }

    @Test func `octets that are not UTF-8 are no name`() {
        #expect(DNSName(octets: [0x61, 0xFF, 0x62]) == nil)
        #expect(DNSName(octets: [0xC0, 0xAF]) == nil)
    }

    @Test func `limits hold at the maximum and one more`() {
        let label = String(repeating: "a", count: 63)
        #expect(DNSName(label) != nil)
        let longest = "\(label).\(label).\(label).\(String(repeating: "b", count: 61))"
        #expect(longest.utf8.count == 253)
        #expect(DNSName(longest) != nil)
        #expect(DNSName(longest + "b") == nil)
    }

    @Test func `record data may end anywhere without a trap`() {
        let data = FakeDNSServer.mx(10, "mx.example.org")
        for count in 0..<data.count {
            let record = DNSRecord(type: .mx, data: Array(data[..<count]))
            #expect(record == nil || record == .mxUnusable(preference: 10))
        }
        #expect(DNSRecord(type: .mx, data: [0, 0, 0]) == .mx(preference: 0, exchange: .root))
        #expect(DNSRecord(type: .mx, data: [0, 1, 0xC0, 0x0C]) == .mxUnusable(preference: 1))
        #expect(
            DNSRecord(type: .mx, data: [0, 1, 3, 0x61, 0, 0x62, 0]) == .mxUnusable(preference: 1)
        )
        #expect(DNSRecord(type: .a, data: [1, 2, 3]) == nil)
        #expect(DNSRecord(type: .aaaa, data: [1, 2, 3, 4]) == nil)
        #expect(DNSRecord(type: .txt, data: [3, 0x61, 0x62]) == nil)
        for count in 0..<3 {
            #expect(DNSRecord(type: .tlsa, data: [UInt8](repeating: 3, count: count)) == nil)
        }
        #expect(
            DNSRecord(type: .tlsa, data: [3, 1, 255, 0, 7])
                == .tlsa(TLSARecord(usage: 3, selector: 1, matchingType: 255, data: [0, 7]))
        )
        #expect(
            DNSRecord(type: .tlsa, data: [3, 1, 0])
                == .tlsa(TLSARecord(usage: 3, selector: 1, matchingType: 0, data: []))
        )
        #expect(DNSRecord(type: .txt, data: [2, 0x61, 0, 1, 0xFF]) == .text([0x61, 0, 0xFF]))
    }
}

@Suite struct DNSResolverTests {
    private func resolver(
        _ server: FakeDNSServer,
        timeout: Duration = .seconds(20),
        outstanding: Int = 100
    ) throws -> UnboundResolver {
        try UnboundResolver(
            DNSConfiguration(
                servers: [server.address],
                timeout: timeout,
                maximumOutstanding: outstanding
            )
        )
    }

    private func name(_ text: String) throws -> DNSName { try #require(DNSName(text)) }

    @Test func `an answer without signatures is bogus below a trust anchor, and never secure`()
        async throws
    {
        let server = try FakeDNSServer([
            .init("example.test", 1): .records([[192, 0, 2, 1]]),
            .init("other.example", 1): .records([[192, 0, 2, 1]]),
        ])
        defer { server.stop() }
        let folder = try ScratchFolder()
        let digest = String(repeating: "0a", count: 32)
        let anchor = "example.test. 3600 IN DS 12345 13 2 \(digest)\n"
        try folder.write(Array(anchor.utf8), "anchor")
        let validating = try UnboundResolver(
            DNSConfiguration(
                servers: [server.address],
                trustAnchorFile: "\(folder.path)/anchor",
                timeout: .seconds(20)
            )
        )
        let (below, elsewhere) = (try self.name("example.test"), try self.name("other.example"))
        #expect(await validating.lookUp(below, .a) == DNSLookup(.failure(.bogus)))
        for resolver in [validating, try self.resolver(server)] {
            let lookup = await resolver.lookUp(elsewhere, .a)
            #expect(lookup.answer == .records([.address(IPAddress(ipv4: 0xC000_0201))]))
            #expect(!lookup.isSecure)
        }
        #expect(await (try self.resolver(server)).lookUp(below, .a).isSecure == false)
    }

    @Test func `a trust anchor that cannot be read is an error at once`() throws {
        let error = #expect(throws: DNSSetupError.self) {
            try UnboundResolver(DNSConfiguration(trustAnchorFile: "/no/such/file"))
        }
        #expect(error?.description == "trust_anchor_file /no/such/file: No such file or directory")
    }

    @Test func `answers, no data, no name and failure are told apart`() async throws {
        let server = try FakeDNSServer([
            .init("example.test", 15): .records([FakeDNSServer.mx(10, "mx.example.test")]),
            .init("example.test", 1): .records([[192, 0, 2, 1], [192, 0, 2, 2]]),
            .init("example.test", 28): .nodata,
            .init("example.test", 16): .records([[3, 0x61, 0, 0x62, 1, 0xFF]]),
            .init("broken.example", 1): .servfail,
        ])
        defer { server.stop() }
        let resolver = try self.resolver(server)
        let example = try self.name("example.test")
        let exchange = try self.name("mx.example.test")
        #expect(
            await resolver.query(example, .mx)
                == .records([.mx(preference: 10, exchange: exchange)])
        )
        guard case .records(let addresses) = await resolver.query(example, .a) else {
            Issue.record("no addresses")
            return
        }
        #expect(addresses.count == 2)
        #expect(await resolver.query(example, .aaaa) == .nodata)
        #expect(await resolver.query(example, .txt) == .records([.text([0x61, 0, 0x62, 0xFF])]))
        #expect(await resolver.query(try self.name("absent.example"), .a) == .nxdomain)
        #expect(
            await resolver.query(try self.name("broken.example"), .a) == .failure(.server(rcode: 2))
        )
    }

    @Test func `a silent server is a timeout at the deadline, not before`() async throws {
        let server = try FakeDNSServer([.init("slow.example", 1): .silence])
        defer { server.stop() }
        let resolver = try self.resolver(server, timeout: .milliseconds(200))
        let start = ContinuousClock.now
        let answer = await resolver.query(try self.name("slow.example"), .a)
        #expect(answer == .failure(.timedOut))
        #expect(ContinuousClock.now - start >= .milliseconds(200))
        // The resolver lives on.
        #expect(await resolver.query(try self.name("absent.example"), .a) == .nxdomain)
    }

    @Test func `a query's own deadline is kept`() async throws {
        let server = try FakeDNSServer([.init("slow.example", 1): .silence])
        defer { server.stop() }
        let resolver = try self.resolver(server)
        let deadline = ContinuousClock.now + .milliseconds(50)
        let answer = await resolver.query(try self.name("slow.example"), .a, deadline: deadline)
        #expect(answer == .failure(.timedOut))
        #expect(ContinuousClock.now >= deadline)
    }

    @Test func `cancelling the task answers at once, early and late`() async throws {
        let server = try FakeDNSServer([.init("slow.example", 1): .silence])
        defer { server.stop() }
        let resolver = try self.resolver(server)
        let slow = try self.name("slow.example")
        let task = Task { await resolver.query(slow, .a) }
        task.cancel()
        #expect(await task.value == .failure(.cancelled))
        let second = Task { await resolver.query(slow, .a) }
        while server.questions.isEmpty { await Task.yield() }
        second.cancel()
        #expect(await second.value == .failure(.cancelled))
    }

    @Test func `the limit of queries under way holds`() async throws {
        let server = try FakeDNSServer([.init("slow.example", 1): .silence])
        defer { server.stop() }
        let resolver = try self.resolver(server, outstanding: 1)
        let slow = try self.name("slow.example")
        let task = Task { await resolver.query(slow, .a) }
        while server.questions.isEmpty { await Task.yield() }
        #expect(await resolver.query(try self.name("absent.example"), .a) == .failure(.overloaded))
        task.cancel()
        #expect(await task.value == .failure(.cancelled))
        #expect(await resolver.query(try self.name("absent.example"), .a) == .nxdomain)
    }

    @Test func `shutting down answers what is under way`() async throws {
        let server = try FakeDNSServer([.init("slow.example", 1): .silence])
        defer { server.stop() }
        let resolver = try self.resolver(server)
        let slow = try self.name("slow.example")
        let task = Task { await resolver.query(slow, .a) }
        while server.questions.isEmpty { await Task.yield() }
        resolver.shutdown()
        #expect(await task.value == .failure(.closed))
        #expect(await resolver.query(slow, .a) == .failure(.closed))
        resolver.shutdown()
    }

    @Test func `many questions at once are all answered`() async throws {
        var table: [FakeDNSServer.Question: FakeDNSServer.Response] = [:]
        for index in 0..<200 {
            table[.init("h\(index).example", 1)] = .records([[10, 0, 0, UInt8(index)]])
        }
        let server = try FakeDNSServer(table)
        defer { server.stop() }
        let resolver = try self.resolver(server, outstanding: 500)
        let right = await withTaskGroup(of: Bool.self, returning: Int.self) { group in
            for index in 0..<200 {
                group.addTask {
                    guard let name = DNSName("h\(index).example"),
                        case .records(let records) = await resolver.query(name, .a)
                    else { return false }
                    return records == [DNSRecord(type: .a, data: [10, 0, 0, UInt8(index)])]
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(right == 200)
    }

    @Test func `garbage from the server is a failure and nothing worse`() async throws {
        let server = try FakeDNSServer([
            .init("short.example", 1): .raw([0x81]),
            .init("lies.example", 1): .raw([0x81, 0x80, 0, 1, 0xFF, 0xFF, 0, 0, 0, 0]),
            .init("empty.example", 16): .records([[]]),
        ])
        defer { server.stop() }
        let resolver = try self.resolver(server, timeout: .milliseconds(300))
        for name in ["short.example", "lies.example"] {
            guard case .failure = await resolver.query(try self.name(name), .a) else {
                Issue.record("\(name) was answered")
                continue
            }
        }
    }

    @Test(arguments: [
        "", "dns.example", "127.0.0.1:", "127.0.0.1:x", "[::1", "[::1]x", "1.2.3.4 5",
    ])
    func `a server that is no address is an error at start`(server: String) {
        #expect(throws: DNSSetupError.self) {
            try UnboundResolver(DNSConfiguration(servers: [server]))
        }
    }

    @Test(arguments: ["127.0.0.1", "127.0.0.1:5353", "::1", "[::1]:53", "[::1]"])
    func `addresses with and without a port are servers`(server: String) throws {
        try UnboundResolver(DNSConfiguration(servers: [server])).shutdown()
    }
}
