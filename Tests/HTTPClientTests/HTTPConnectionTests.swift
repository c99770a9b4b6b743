import NIOCore
import NIOEmbedded
import PolicyKit
import Testing

@testable import HTTPClient

/// What a server sends, octet for octet, and what the client makes of it.
struct HTTPConnectionTests {
    struct Case: Sendable, CustomStringConvertible {
        let description: String
        let octets: String
        var method = "POST"
        var closes = false
        /// Status, content, and whether the connection is kept.
        var answer: (Int, String, Bool)?
        var failure: HTTPFailure.Code?
    }

    static let cases: [Case] = [
        Case(
            description: "a length",
            octets: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            answer: (200, "hello", true)
        ),
        Case(
            description: "chunks, with an extension and a trailer",
            octets: "HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n"
                + "2;x=\"y\"\r\nhe\r\n3\r\nllo\r\n0\r\nX-End: 1\r\n\r\n",
            answer: (201, "hello", true)
        ),
        Case(
            description: "to the end of the connection",
            octets: "HTTP/1.1 200 OK\r\n\r\nhello",
            closes: true,
            answer: (200, "hello", false)
        ),
        Case(
            description: "no content, by the status",
            octets: "HTTP/1.1 204 None\r\n\r\n",
            answer: (204, "", true)
        ),
        Case(
            description: "no content, by the method",
            octets: "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
            method: "HEAD",
            answer: (200, "", true)
        ),
        Case(
            description: "Connection: close",
            octets: "HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
            answer: (500, "no", false)
        ),
        Case(
            description: "HTTP/1.0",
            octets: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            answer: (200, "ok", false)
        ),
        Case(
            description: "informational answers first",
            octets: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"
                + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            answer: (200, "", true)
        ),
        Case(
            description: "another protocol",
            octets: "HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            failure: .malformed
        ),
        Case(description: "no HTTP", octets: "220 mx ESMTP\r\n", failure: .malformed),
        Case(description: "HTTP/2", octets: "HTTP/2.0 200 OK\r\n\r\n", failure: .malformed),
        Case(description: "nothing", octets: "", closes: true, failure: .closed),
        Case(
            description: "the end within the header",
            octets: "HTTP/1.1 200 OK\r\nContent-Le",
            closes: true,
            failure: .closed
        ),
        Case(
            description: "the end within the content",
            octets: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
            closes: true,
            failure: .closed
        ),
        Case(
            description: "the end within a chunk",
            octets: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
            closes: true,
            failure: .closed
        ),
        Case(
            description: "two lengths",
            octets: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r\n\r\nhello",
            failure: .malformed
        ),
        Case(
            description: "a length and chunks",
            octets:
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            failure: .malformed
        ),
        Case(
            description: "a length that is no number",
            octets: "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
            failure: .malformed
        ),
        Case(
            description: "a chunk's length that is no number",
            octets: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            failure: .malformed
        ),
        Case(
            description: "more content than allowed, announced",
            octets: "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
            failure: .tooLong
        ),
        Case(
            description: "more content than allowed, in chunks",
            octets: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                + String(repeating: "32\r\n\(String(repeating: "x", count: 50))\r\n", count: 3),
            failure: .tooLong
        ),
        Case(
            description: "a field without an end",
            octets: "HTTP/1.1 200 OK\r\nX: " + String(repeating: "y", count: 20_000),
            failure: .tooLong
        ),
        Case(
            description: "too many fields",
            octets: "HTTP/1.1 200 OK\r\n" + String(repeating: "X: y\r\n", count: 300),
            failure: .tooLong
        ),
    ]

    /// Plays pieces of a server's octets; the result of the exchange, and whether the connection lives.
    private func play(
        _ pieces: [ArraySlice<UInt8>],
        _ method: String,
        closes: Bool
    ) throws -> (Result<HTTPAnswer, any Error>?, isActive: Bool) {
        let loop = EmbeddedEventLoop()
        let channel = EmbeddedChannel(loop: loop)
        try channel.connect(to: SocketAddress(unixDomainSocketPath: "/x")).wait()
        let connections = HTTPConnections(
            to: .unix(path: "/nowhere"),
            tls: nil,
            on: loop,
            idleTime: .seconds(10)
        )
        let promise = loop.makePromise(of: HTTPAnswer.self)
        let exchange = HTTPExchange(
            HTTPRequest(method, "/", isRepeatable: true),
            host: "h",
            limit: 100,
            deadline: .now() + .seconds(60),
            promise: promise
        )
        nonisolated(unsafe) var result: Result<HTTPAnswer, any Error>?
        promise.futureResult.whenComplete { result = $0 }
        let connection = try HTTPConnection.add(to: channel, of: connections)
        connection.begin(exchange)
        for piece in pieces where channel.isActive {
            channel.pipeline.fireChannelRead(ByteBuffer(bytes: piece))
            loop.run()
        }
        let isActive = channel.isActive
        if closes { channel.close(promise: nil) }
        loop.run()
        if result == nil { exchange.fail(HTTPFailure(.timedOut, "nothing came of it")) }
        _ = try? channel.finish(acceptAlreadyClosed: true)
        return (result, isActive)
    }

    private func check(_ pieces: [ArraySlice<UInt8>], _ expected: Case) throws {
        let (result, isActive) = try self.play(pieces, expected.method, closes: expected.closes)
        switch result {
        case .success(let answer)?:
            #expect(answer.status == expected.answer?.0)
            #expect(answer.body == expected.answer.map { Array($0.1.utf8) })
            #expect(expected.closes || isActive == expected.answer?.2)
        case .failure(let error)?:
            #expect((error as? HTTPFailure)?.code == expected.failure, "\(error)")
        case nil: Issue.record("no outcome")
        }
    }

    @Test(arguments: cases)
    func `an answer is read whole, octet by octet and cut anywhere`(expected: Case) throws {
        let octets = Array(expected.octets.utf8)
        try self.check([octets[...]], expected)
        try self.check(octets.indices.map { octets[$0...$0] }, expected)
        for cut in octets.indices.dropFirst().prefix(200) {
            try self.check([octets[..<cut], octets[cut...]], expected)
        }
    }

    @Test func `damaged answers have an outcome`() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<3_000 {
            guard let original = Self.cases.randomElement(using: &generator) else { continue }
            var octets = Array(original.octets.utf8.prefix(600))
            for _ in 0..<Int.random(in: 1...4, using: &generator) where !octets.isEmpty {
                let index = Int.random(in: octets.indices, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: octets[index] = .random(in: 0...255, using: &generator)
                case 1: octets.remove(at: index)
                default: octets.insert(.random(in: 0...255, using: &generator), at: index)
                }
            }
            let cut = Int.random(in: 0...octets.count, using: &generator)
            let (result, _) = try self.play(
                [octets[..<cut], octets[cut...]].filter { !$0.isEmpty },
                "GET",
                closes: true
            )
            guard case .failure(let error)? = result else { continue }
            #expect((error as? HTTPFailure)?.code != .timedOut, "\(octets)")
        }
    }
}

struct HTTPServerURLTests {
    @Test(arguments: [
        ("http://h", "h:80", false, "/", "h"),
        ("HTTP://h:8080/a?b=c", "h:8080", false, "/a?b=c", "h:8080"),
        ("https://mx.example.org/x", "mx.example.org:443", true, "/x", "mx.example.org"),
        ("https://[::1]:8443", "[::1]:8443", true, "/", "[::1]:8443"),
        ("127.0.0.1", "127.0.0.1:11333", false, "/", "127.0.0.1:11333"),
        ("h:1", "h:1", false, "/", "h:1"), ("/run/x.sock", "/run/x.sock", false, "/", "localhost"),
        ("unix:/run/x.sock", "/run/x.sock", false, "/", "localhost"),
        ("unix:/run/x.sock:/hook", "/run/x.sock", false, "/hook", "localhost"),
    ])
    func `an address is read`(
        text: String,
        address: String,
        isEncrypted: Bool,
        path: String,
        authority: String
    ) {
        let url = HTTPServerURL(text, defaultPort: 11_333)
        #expect(url.map { "\($0.address)" } == address)
        #expect(url?.isEncrypted == isEncrypted)
        #expect(url?.path == path)
        #expect(url?.authority == authority)
    }

    @Test(arguments: [
        "", "http://", "https:///x", "http://a@b", "ftp://h", "unix:x", "unix:/a:b", "http://h/a b",
        "http://h:0", "http://h:x/",
    ])
    func `what is no address is none`(text: String) {
        #expect(HTTPServerURL(text) == nil)
    }

    @Test(arguments: [
        ("a\r\nX: y", "aX: y"), ("  a b  ", "a b"), ("a\u{0}b\u{7F}", "ab"), ("\u{FC}", "\u{FC}"),
        ("", ""),
    ])
    func `no value ends its field`(text: String, value: String) {
        #expect(HTTPField("X", text).value == value)
    }
}
