import Certificates
import Dispatch
import NIOCore
import NIOPosix
import NIOSSL
import PolicyKit
import PolicyKitTesting
import Synchronization
import System
import Testing

@testable import HTTPClient
@testable import PolicyKitTesting

/// The client and servers on sockets: connections, deadlines, TLS.
struct HTTPServerClientTests {
    private static let eventLoop = MultiThreadedEventLoopGroup.singleton.any()

    private func client(
        _ text: String,
        idleTime: Duration = .seconds(10)
    ) throws -> HTTPServerClient {
        let url = try #require(HTTPServerURL(text))
        return HTTPServerClient(url, tls: nil, on: Self.eventLoop, idleTime: idleTime)
    }

    /// The lines of a request's header, and its content; `nil` at the end of the connection.
    private static func request(
        _ connection: TestServer.Connection
    ) -> (lines: [String], body: [UInt8])? {
        var lines: [String] = []
        while let line = connection.readLine(), line != "\r\n" { lines.append(line) }
        guard !lines.isEmpty else { return nil }
        let length = lines.first { $0.hasPrefix("Content-Length: ") }
            .flatMap { Int($0.dropFirst(16).dropLast()) }
        return (lines, connection.read(length ?? 0))
    }

    /// Answers each request with `ok` and its number on this connection.
    private static func serve(_ connection: TestServer.Connection) {
        var number = 0
        while let request = Self.request(connection) {
            number += 1
            let text = "\(request.lines[0].prefix(4))\(connection.number).\(number)"
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: \(text.utf8.count)\r\n\r\n\(text)")
        }
    }

    private func text(_ answer: HTTPAnswer) -> String {
        String(decoding: answer.body, as: UTF8.self)
    }

    private func code(_ body: () async throws -> HTTPAnswer) async -> HTTPFailure.Code? {
        do {
            _ = try await body()
            return nil
        } catch {
            return (error as? HTTPFailure)?.code
        }
    }

    @Test func `a request has what RFC 9112 wants of it`() async throws {
        let seen = Seen()
        let server = try TestServer { connection in
            guard let request = Self.request(connection) else { return }
            seen.requests.withLock {
                $0.append(request.lines + [String(decoding: request.body, as: UTF8.self)])
            }
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        }
        defer { server.stop() }
        let client = try self.client("\(server.address)")
        let answer = try await client.ask(
            HTTPRequest(
                "POST",
                "/checkv2",
                fields: [HTTPField("From", "a\r\nb@c")],
                body: Array("hello".utf8)
            ),
            limit: 10,
            within: .seconds(10)
        )
        #expect(answer.status == 200)
        #expect(
            seen.requests.withLock { $0.first } == [
                "POST /checkv2 HTTP/1.1\r\n", "Host: \(server.address)\r\n",
                "Content-Length: 5\r\n",
                "Connection: close\r\n", "From: ab@c\r\n", "hello",
            ]
        )
    }

    @Test func `a connection is kept for what may be repeated, and for nothing else`() async throws
    {
        let server = try TestServer { Self.serve($0) }
        defer { server.stop() }
        let client = try self.client("\(server.address)")
        var answers: [String] = []
        for request in [
            HTTPRequest("GET", "/"), HTTPRequest("GET", "/"), HTTPRequest("POST", "/"),
            HTTPRequest("POST", "/", isRepeatable: true),
        ] {
            let answer = try await client.ask(request, limit: 10, within: .seconds(10))
            answers.append(self.text(answer))
        }
        #expect(answers == ["GET 1.1", "GET 1.2", "POST2.1", "POST1.3"])
        #expect(server.connections == 2)
    }

    @Test func `a kept connection that has ended costs nothing but a new one`() async throws {
        let server = try TestServer { connection in
            guard Self.request(connection) != nil else { return }
            connection.write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\(connection.number)")
        }
        defer { server.stop() }
        let client = try self.client("\(server.address)")
        for number in 1...5 {
            let answer = try await client.ask(
                HTTPRequest("GET", "/"),
                limit: 10,
                within: .seconds(10)
            )
            #expect(self.text(answer) == "\(number)")
        }
    }

    @Test func `a socket and no server`() async throws {
        let folder = try TestFolder()
        let path = folder.path + "/http.sock"
        let server = try TestServer(unixPath: path) { Self.serve($0) }
        defer { server.stop() }
        let client = try self.client("unix:\(path):/x")
        let answer = try await client.ask(
            HTTPRequest("GET", client.url.path),
            limit: 10,
            within: .seconds(10)
        )
        #expect(self.text(answer) == "GET 1.1")
        let nowhere = try self.client(folder.path + "/nothing.sock")
        #expect(
            await self.code {
                try await nowhere.ask(HTTPRequest("GET", "/"), limit: 10, within: .seconds(10))
            } == .unreachable
        )
    }

    /// Each of these never ends its answer.
    @Test(arguments: [
        "", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ])
    func `a slow server costs the time that it is given`(start: String) async throws {
        let server = try TestServer { connection in
            connection.write(start)
            connection.waitForEnd()
        }
        defer { server.stop() }
        let client = try self.client("\(server.address)")
        let started = ContinuousClock.now
        let code = await self.code {
            try await client.ask(HTTPRequest("GET", "/"), limit: 10, within: .milliseconds(300))
        }
        #expect(code == .timedOut)
        #expect(ContinuousClock.now - started < .seconds(30))
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n|1\r\nx\r\n",
        "HTTP/1.1 200 OK\r\n|X: y\r\n",
        "HTTP/1.1 200 OK\r\n\r\n|xxxx", "HTTP/1.1 200 OK\r\nX: |y",
    ])
    func `an answer without end has a limit`(answer: String) async throws {
        let parts = answer.split(separator: "|").map { String($0) }
        let server = try TestServer { connection in
            guard Self.request(connection) != nil else { return }
            connection.write(parts[0] + String(repeating: parts[1], count: 100_000))
            connection.waitForEnd()
        }
        defer { server.stop() }
        let client = try self.client("\(server.address)")
        let code = await self.code {
            try await client.ask(HTTPRequest("GET", "/"), limit: 1_000, within: .seconds(60))
        }
        #expect(code == .tooLong)
    }

    @Test func `an answer before the end of the request ends the connection`() async throws {
        let isAnswered = DispatchSemaphore(value: 0)
        let server = try TestServer { connection in
            _ = connection.readLine()
            connection.write("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            // Read before, all of the request might be sent before the client sees the answer.
            _ = isAnswered.wait(timeout: .now() + 60)
            connection.waitForEnd()
        }
        defer { server.stop() }
        let client = try self.client("\(server.address)")
        let request = HTTPRequest(
            "PUT",
            "/",
            body: [UInt8](repeating: 0x78, count: 30_000_000)
        )
        for _ in 0..<2 {
            let answer = try await client.ask(request, limit: 10, within: .seconds(60))
            isAnswered.signal()
            #expect(answer.status == 413)
        }
        #expect(server.connections == 2)
    }

    @Test func `a cancelled task waits no longer`() async throws {
        let server = try TestServer { $0.waitForEnd() }
        defer { server.stop() }
        let client = try self.client("\(server.address)")
        let task = Task {
            try await client.ask(HTTPRequest("GET", "/"), limit: 10, within: .seconds(600))
        }
        task.cancel()
        await #expect(throws: CancellationError.self) { _ = try await task.value }
    }

    @Test(arguments: [
        HTTPRequest("GE T", "/"), HTTPRequest("GET", "x"), HTTPRequest("GET", "/a b"),
        HTTPRequest("GET", "/\r\nX: y"), HTTPRequest("GET", "/", fields: [HTTPField("a b", "c")]),
    ])
    func `a request that would be two is not sent`(request: HTTPRequest) async throws {
        let client = try self.client("127.0.0.1:1")
        let code = await self.code {
            try await client.ask(request, limit: 10, within: .seconds(10))
        }
        #expect(code == .badRequest)
    }
}

/// The client and a server that speaks TLS.
struct HTTPEncryptionTests {
    /// Answers anything that looks like a request.
    private final class Answering: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        let answer: String
        init(_ answer: String) { self.answer = answer }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let octets = ByteBuffer(string: self.answer)
            let channel = context.channel
            // The end of TLS is sent by closing: without it, the TCP connection ends alone.
            channel.writeAndFlush(octets).whenComplete { _ in channel.close(promise: nil) }
        }
    }

    private static let script = """
        cd "$0" && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem \
            -out cert.pem -days 2 -subj /CN=mx.example.org -addext subjectAltName=DNS:mx.example.org
        """

    /// A server with a certificate of its own for mx.example.org; the port, and the folder with `cert.pem`.
    private func serve(_ answer: String) async throws -> (channel: any Channel, folder: TestFolder)
    {
        let folder = try TestFolder()
        _ = try Spawn.output(
            of: ["/bin/sh", "-c", Self.script, folder.path],
            within: .seconds(60),
            limit: 100_000
        )
        let certificates = try NIOSSLCertificate.fromPEMFile(folder.path + "/cert.pem")
        let key = try NIOSSLPrivateKey(file: folder.path + "/key.pem", format: .pem)
        let context = try NIOSSLContext(
            configuration: .makeServerConfiguration(
                certificateChain: certificates.map { .certificate($0) },
                privateKey: .privateKey(key)
            )
        )
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLServerHandler(context: context)
                    )
                    try channel.pipeline.syncOperations.addHandler(Answering(answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return (channel, folder)
    }

    private func ask(_ port: Int, _ file: String?, _ name: String) async throws -> HTTPAnswer {
        let url = try #require(HTTPServerURL("https://127.0.0.1:\(port)/x"))
        let context = try ClientTLS.context(isVerifying: true, authorities: file)
        let client = HTTPServerClient(
            url,
            tls: HTTPEncryption(context: context, name: name),
            on: MultiThreadedEventLoopGroup.singleton.any()
        )
        return try await client.ask(HTTPRequest("GET", "/"), limit: 100, within: .seconds(30))
    }

    @Test func `a connection that cannot be encrypted is closed`() async throws {
        let isClosed = Semaphore()
        let server = try TestServer { connection in
            connection.waitForEnd()
            isClosed.post()
        }
        let port = try #require(HTTPServerURL("http://\(server.address)")).address
        guard case .tcp(_, let number) = port else { return }
        // The library takes no address for a name.
        await #expect(throws: HTTPFailure.self) { try await self.ask(number, nil, "192.0.2.1") }
        isClosed.wait()
        server.stop()
    }

    @Test func `the server must have a certificate for its name`() async throws {
        let (channel, folder) = try await self.serve(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        )
        let port = try #require(channel.localAddress?.port)
        let file = folder.path + "/cert.pem"
        let answer = try await self.ask(port, file, "mx.example.org")
        #expect(answer.body == Array("ok".utf8))
        for (file, name) in [(file, "mx.example.net"), (nil, "mx.example.org")]
            as [(String?, String)]
        {
            do {
                _ = try await self.ask(port, file, name)
                Issue.record("\(name) has no such certificate")
            } catch {
                #expect((error as? HTTPFailure)?.code == .unreachable, "\(error)")
            }
        }
        try await channel.close().get()
    }

    @Test func `a server without TLS is no server`() async throws {
        let server = try TestServer { connection in
            connection.write("HTTP/1.1 400 What\r\nContent-Length: 0\r\n\r\n")
            connection.waitForEnd()
        }
        defer { server.stop() }
        guard case .tcp(_, let port) = server.address else { return }
        do {
            _ = try await self.ask(port, nil, "mx.example.org")
            Issue.record("there is no TLS")
        } catch {
            #expect((error as? HTTPFailure)?.code == .unreachable, "\(error)")
        }
    }

    @Test func `content to the end of the connection is whole if TLS was ended`() async throws {
        let (channel, folder) = try await self.serve("HTTP/1.1 200 OK\r\n\r\nwhole")
        let port = try #require(channel.localAddress?.port)
        let answer = try await self.ask(port, folder.path + "/cert.pem", "mx.example.org")
        #expect(answer.body == Array("whole".utf8))
        try await channel.close().get()
    }
}

private final class Seen: Sendable {
    let requests = Mutex<[[String]]>([])
}
