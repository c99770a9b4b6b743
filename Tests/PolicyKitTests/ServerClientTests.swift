import NIOPosix
import Testing

@testable import PolicyKit
@testable import PolicyKitTesting

@Suite struct AnswerReaderTests {
    private struct Refused: Error {}

    /// `4:abcd`: digits, a colon, and so many octets.
    private static let counted = AnswerEnd.length { answer in
        guard let colon = answer.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        guard let count = Int(String(decoding: answer[..<colon], as: UTF8.self)) else {
            throw Refused()
        }
        return colon + 1 + count
    }

    /// What a reader makes of `text`, given in pieces of `size` octets and then the end: the answer,
    /// and whether the connection can be kept.
    private static func read(
        _ text: String,
        _ end: AnswerEnd,
        limit: Int = 100,
        size: Int
    ) throws -> (answer: String?, isKept: Bool) {
        var reader = AnswerReader(end, limit: limit)
        let octets = Array(text.utf8)
        for start in stride(from: 0, to: octets.count, by: size) {
            let piece = octets[start..<min(start + size, octets.count)]
            if let answer = try reader.append(piece) {
                return (String(decoding: answer, as: UTF8.self), reader.isAtEnd)
            }
        }
        return (reader.finish().map { String(decoding: $0, as: UTF8.self) }, reader.isAtEnd)
    }

    @Test(arguments: 1...12)
    func `an answer ends where its rule says, however it is split`(size: Int) throws {
        for (text, end, answer) in [
            ("hello", AnswerEnd.close, "hello"), ("", .close, nil),
            ("a line\r\n", .octets([13, 10]), "a line\r\n"),
            ("\r\r\n", .octets([13, 10]), "\r\r\n"),
            ("no end\r", .octets([13, 10]), nil), ("aab", .octets(Array("ab".utf8)), "aab"),
            ("4:abcd", Self.counted, "4:abcd"), ("0:", Self.counted, "0:"),
            ("12:abcd", Self.counted, nil), ("12", Self.counted, nil),
        ] {
            let result = try Self.read(text, end, size: size)
            #expect(result.answer == answer, "\(text)")
            #expect(result.isKept == (answer != nil && end.keepsConnection), "\(text)")
        }
    }

    @Test func `what follows an answer is not part of it, and the connection is not kept`() throws {
        for (text, end, answer) in [
            ("a\nb", AnswerEnd.octets([10]), "a\n"), ("1:ab", Self.counted, "1:a"),
        ] {
            let result = try Self.read(text, end, size: 99)
            #expect(result.answer == answer && !result.isKept)
        }
    }

    @Test(arguments: [1, 2, 99])
    func `an answer over its limit is refused`(size: Int) {
        for (text, end) in [
            ("12345", AnswerEnd.close), ("12345", .octets([10])), ("9:", Self.counted),
            ("9223372036854775800:", Self.counted),
        ] {
            let error = #expect(throws: ExchangeError.self, "\(text)") {
                try Self.read(text, end, limit: 4, size: size)
            }
            #expect(error?.code == .tooLong)
        }
        #expect(throws: Refused.self) { try Self.read("x:", Self.counted, size: size) }
    }

    @Test(.timeLimit(.minutes(1)))
    func `the search for a mark does not begin anew with each octet`() throws {
        // Quadratic work would be 2 * 10^10 steps.
        var reader = AnswerReader(.octets([13, 10]), limit: 300_000)
        for _ in 0..<200_000 { _ = try reader.append([13]) }
        #expect(try reader.append([10])?.count == 200_001)
    }
}

@Suite struct ServerAddressTests {
    @Test(arguments: [
        ("/run/x.sock", "/run/x.sock"), ("localhost", "localhost:25"), ("a.test:1", "a.test:1"),
        ("192.0.2.1:65535", "192.0.2.1:65535"), ("2001:db8::1", "[2001:db8::1]:25"),
        ("[2001:db8::1]", "[2001:db8::1]:25"), ("[2001:db8::1]:26", "[2001:db8::1]:26"),
    ])
    func `an address is read, and read again from its text`(text: String, description: String) {
        let address = ServerAddress(text, defaultPort: 25)
        #expect(address?.description == description)
        #expect(ServerAddress(description, defaultPort: 1) == address)
    }

    @Test(arguments: [
        ("mx.example.org", "mx.example.org"), ("localhost:25", "localhost"), ("mx1:25", "mx1"),
        ("4.example", "4.example"), ("a.", "a."), ("192.0.2.1", nil), ("192.0.2.1:25", nil),
        ("127.1", nil), ("2130706433", nil), ("1.2.3.4.", nil), ("::1", nil), ("[::1]:25", nil),
        (".", nil), ("/run/x.sock", nil),
    ])
    func `a certificate names a host, and no address`(text: String, name: String?) {
        #expect(ServerAddress(text, defaultPort: 25)?.certificateName == name)
    }

    @Test(arguments: [
        "", ":25", "a:", "a:0", "a:65536", "a:x", "[::1", "[::1]25", "[::1]:", "a b", "a/b", "[]:1",
        "/a\0b", "/" + String(repeating: "a", count: 107),
    ])
    func `what is no address is not taken`(text: String) {
        #expect(ServerAddress(text, defaultPort: 25) == nil)
    }
}

@Suite struct ServerClientTests {
    /// A client whose unused connections are not closed while a test waits for its turn.
    private static func client(
        of address: ServerAddress,
        idleTime: Duration = .seconds(3_600)
    ) -> ServerClient {
        ServerClient(
            address,
            on: MultiThreadedEventLoopGroup.singleton.any(),
            idleTime: idleTime
        )
    }

    /// Asks a server with this script one line after the other.
    ///
    /// - Returns: The answers without their last octets, or the errors' codes.
    private func ask(
        _ lines: [String],
        until end: AnswerEnd = .octets([10]),
        unixPath: String? = nil,
        within time: Duration = .seconds(3_600),
        _ script: @escaping @Sendable (TestServer.Connection) -> Void
    ) async throws -> (answers: [String], connections: Int) {
        let server = try TestServer(unixPath: unixPath, script)
        defer { server.stop() }
        let client = Self.client(of: server.address)
        var answers: [String] = []
        for line in lines {
            do {
                let request = Array("\(line)\n".utf8)
                let answer = try await client.exchange(
                    request,
                    until: end,
                    limit: 1_000,
                    within: time
                )
                answers.append(String(decoding: answer.dropLast(), as: UTF8.self))
            } catch let error as ExchangeError {
                answers.append("\(error.code)")
            }
        }
        return (answers, server.connections)
    }

    private static let echo: @Sendable (TestServer.Connection) -> Void = { connection in
        while let line = connection.readLine() {
            connection.write("\(connection.number) \(line)")
        }
    }

    @Test func `a connection is kept and used again`() async throws {
        let result = try await self.ask(["a", "b", "c"], Self.echo)
        #expect(result.answers == ["1 a", "1 b", "1 c"] && result.connections == 1)
    }

    @Test func `an unused connection is closed after its time`() async throws {
        let closed = AsyncStream.makeStream(of: Int.self)
        let server = try TestServer { connection in
            Self.echo(connection)
            closed.continuation.yield(connection.number)
        }
        defer { server.stop() }
        let client = Self.client(of: server.address, idleTime: .milliseconds(1))
        for number in 1...2 {
            let answer = try await client.exchange(
                Array("a\n".utf8),
                until: .octets([10]),
                limit: 10,
                within: .seconds(3_600)
            )
            #expect(answer == Array("\(number) a\n".utf8))
            for await ended in closed.stream {
                #expect(ended == number)
                break
            }
        }
    }

    @Test func `a Unix socket is as good`() async throws {
        let folder = try TestFolder()
        let result = try await self.ask(["a"], unixPath: "\(folder.path)/s", Self.echo)
        #expect(result.answers == ["1 a"])
    }

    @Test func `an answer that ends with the connection is taken whole`() async throws {
        let result = try await self.ask(["a", "b"], until: .close) { connection in
            guard let line = connection.readLine() else { return }
            connection.write("one\n")
            connection.write("two \(line)")
        }
        #expect(result.answers == ["one\ntwo a", "one\ntwo b"] && result.connections == 2)
    }

    @Test func `a kept connection that proves dead is replaced by a new one`() async throws {
        let result = try await self.ask(["a", "b"]) { connection in
            guard let line = connection.readLine() else { return }
            connection.write("\(connection.number) \(line)")
            // The first connection takes the second request, and ends without an answer to it.
            if connection.number == 1 { _ = connection.readLine() }
        }
        #expect(result.answers == ["1 a", "2 b"] && result.connections == 2)
    }

    @Test func `a new connection that ends without an answer is not asked again`() async throws {
        let result = try await self.ask(["a"]) { connection in _ = connection.readLine() }
        #expect(result.answers == ["closed"] && result.connections == 1)
    }

    @Test func `half an answer is none, and is not asked for again`() async throws {
        let result = try await self.ask(["a", "b"]) { connection in
            guard let line = connection.readLine() else { return }
            connection.write("\(connection.number) \(line)")
            guard connection.readLine() != nil else { return }
            connection.write("half")
        }
        #expect(result.answers == ["1 a", "closed"] && result.connections == 1)
    }

    @Test func `octets after an answer do not become the next one's`() async throws {
        let result = try await self.ask(["a", "b"]) { connection in
            guard let line = connection.readLine() else { return }
            connection.write("\(connection.number) \(line)stray\n")
            connection.waitForEnd()
        }
        #expect(result.answers == ["1 a", "2 b"])
    }

    @Test func `a server that does not answer costs the time that it was given`() async throws {
        let result = try await self.ask(["a"], within: .milliseconds(50)) { $0.waitForEnd() }
        #expect(result.answers == ["timedOut"])
    }

    @Test func `an answer that is too long is left`() async throws {
        let result = try await self.ask(["a"]) { connection in
            connection.write(String(repeating: "x", count: 1_001))
            connection.waitForEnd()
        }
        #expect(result.answers == ["tooLong"])
    }

    @Test func `a server that is not there is unreachable`() async throws {
        let client = Self.client(of: .unix(path: "/nonexistent/socket"))
        let error = await #expect(throws: ExchangeError.self) {
            try await client.exchange([10], until: .close, limit: 10, within: .seconds(3_600))
        }
        #expect(error?.code == .unreachable)
    }

    @Test func `a cancelled exchange ends at once and closes its connection`() async throws {
        let asked = AsyncStream.makeStream(of: Void.self)
        let closed = AsyncStream.makeStream(of: Void.self)
        let server = try TestServer { connection in
            _ = connection.readLine()
            asked.continuation.yield()
            connection.waitForEnd()
            closed.continuation.yield()
        }
        defer { server.stop() }
        let client = Self.client(of: server.address)
        let task = Task {
            try await client.exchange([10], until: .close, limit: 10, within: .seconds(3_600))
        }
        for await _ in asked.stream { break }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        for await _ in closed.stream { break }
    }
}
