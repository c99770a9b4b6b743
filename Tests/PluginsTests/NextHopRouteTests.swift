import NIOCore
import PolicyKitTesting
import Testing

@testable import PolicyKit
@testable import StandardPlugins

@Suite struct HopRestsTests {
    private static let route = ["a", "b", "c"].map { ServerAddress.tcp(host: $0, port: 25) }

    /// The hops that failed, and when; and which ones are tried at second 100, in which order.
    struct Case: Sendable {
        var failures: [(hop: Int, second: Int64)]
        var order: [Int]
    }

    private static let cases: [Case] = [
        Case(failures: [], order: [0, 1, 2]),
        Case(failures: [(0, 50)], order: [1, 2]),
        Case(failures: [(1, 90)], order: [0, 2]),
        Case(failures: [(0, 41), (2, 99)], order: [1]),
        Case(failures: [(0, 40)], order: [0, 1, 2]),
        Case(failures: [(0, 10), (0, 60)], order: [1, 2]),
        // If every one rests, every one is tried.
        Case(failures: [(2, 70), (1, 80), (0, 90)], order: [0, 1, 2]),
    ]

    @Test(arguments: Self.cases)
    func `a hop that failed is passed over for a while`(example: Case) {
        func second(_ number: Int64) -> NIODeadline { .uptimeNanoseconds(0) + .seconds(number) }
        var rests = HopRests(time: .seconds(60))
        for (hop, time) in example.failures {
            rests.failed(Self.route[hop], at: second(time))
        }
        let expected = example.order.map { Self.route[$0] }
        #expect(rests.order(Self.route, at: second(100)) == expected)
        for hop in Self.route { rests.worked(hop) }
        #expect(rests.order(Self.route, at: second(100)) == Self.route)
    }
}

@Suite struct SMTPRoutesTests {
    private static let text = """
        example.org:a.example
        Example.COM:b.example,c.example:2525
        .example.com:[2001:db8::1]:26
        deep.sub.example.com:d.example
        bücher.example:e.example
        [192.0.2.1]:f.example
        [IPv6:2001:db8::2]:g.example:27
        :2001:db8::3
        """

    private static func routes(
        _ text: String,
        _ dialect: SMTPClientMachine.Dialect = .smtp
    ) throws -> SMTPRoutes {
        let lines = text.split(separator: "\n").enumerated().map { number, line in
            ControlLine(text: String(line), file: "smtproutes", number: number + 1)
        }
        return try SMTPRoutes(lines, dialect)
    }

    @Test(arguments: [
        ("example.org", "a.example:25"), ("EXAMPLE.org", "a.example:25"),
        ("example.com", "b.example:25 c.example:2525"), ("sub.example.com", "[2001:db8::1]:26"),
        ("x.sub.example.com", "[2001:db8::1]:26"), ("deep.sub.example.com", "d.example:25"),
        ("x.deep.sub.example.com", "[2001:db8::1]:26"), ("xn--bcher-kva.example", "e.example:25"),
        ("BÜCHER.example", "e.example:25"), ("[192.0.2.1]", "f.example:25"),
        ("[ipv6:2001:db8::2]", "g.example:27"), ("example.net", "[2001:db8::3]:25"),
        ("sub.example.org", "[2001:db8::3]:25"), ("", "[2001:db8::3]:25"),
    ])
    func `the longest name that fits says the hops`(domain: String, hops: String) throws {
        let route = try #require(try Self.routes(Self.text).route(Array(domain.utf8)))
        #expect(route.map { "\($0)" }.joined(separator: " ") == hops)
    }

    @Test func `LMTP has sockets and another port`() throws {
        let routes = try Self.routes("a:/run/lmtp,b\n:c:2424", .lmtp)
        #expect(
            routes.route(Array("a".utf8)) == [.unix(path: "/run/lmtp"), .tcp(host: "b", port: 24)]
        )
        #expect(routes.route([]) == [.tcp(host: "c", port: 2424)])
    }

    @Test func `without a default there may be none`() throws {
        let routes = try Self.routes("example.org:a.example")
        #expect(routes.route(Array("example.com".utf8)) == nil)
        #expect(routes.route([]) == nil)
    }

    @Test(arguments: [
        (
            "example.org",
            "smtproutes:1: example.org is no route; write DOMAIN:HOST or DOMAIN:HOST:PORT"
        ),
        ("a.b:c\nexample.org:", "smtproutes:2: a route needs a host; MX records are not looked up"),
        ("a:b:0", "smtproutes:1: b:0 is no host; write HOST, HOST:PORT or [V6]:PORT"),
        ("a:b,,c", "smtproutes:1:  is no host; write HOST, HOST:PORT or [V6]:PORT"),
        (
            "a:b user word",
            "smtproutes:1: b user word is no host; write HOST, HOST:PORT or [V6]:PORT"
        ),
        ("a:/run/x", "smtproutes:1: /run/x is no host; write HOST, HOST:PORT or [V6]:PORT"),
        ("a:b\nA:c", "smtproutes:2: A has a route already"),
        (":b\n:c", "smtproutes:2: the default has a route already"),
    ])
    func `a line that is wrong is named`(text: String, problem: String) {
        #expect(throws: PluginError(problem)) { _ = try Self.routes(text) }
    }
}
