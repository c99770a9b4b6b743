import Testing

@testable import PolicyKit
@testable import PolicyKitTesting

@Suite struct MessageBodyTests {
    private let folder: TestFolder
    private let path: String

    init() throws {
        self.folder = try TestFolder()
        self.path = "\(self.folder.path)/message"
    }

    private static let field = HeaderField(id: 1, name: "A", value: " b")
    private static let header = Array("A: b\r\n".utf8)

    /// A message whose file has three octets of header and `count` of body.
    private func message(body count: Int, claimed: Int? = nil) throws -> (Message, body: [UInt8]) {
        let body = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
        try self.folder.write(Array("old".utf8) + body, to: "message")
        let size = Int64(3 + (claimed ?? count))
        let file = MessageReference(path: self.path, size: size, bodyOffset: 3)
        return (Message(headers: [Self.field], file: file), body)
    }

    @Test(arguments: [-1, 0, 1])
    func `chunks are of one size, and together they are the body`(more: Int) async throws {
        let limit = MessageBody.chunkOctets
        for (count, sizes) in [
            (0, []), (1, [1]), (limit + more, [min(limit, limit + more), more]),
            (2 * limit + more, [limit, min(limit, limit + more), more]),
        ] {
            let (message, body) = try self.message(body: count)
            for _ in 1...2 {  // each loop reads from the start
                var chunks: [[UInt8]] = []
                for try await chunk in message.body { chunks.append(chunk) }
                #expect(chunks.map(\.count) == sizes.filter { $0 > 0 })
                #expect(chunks.flatMap(\.self) == body)
            }
        }
    }

    @Test func `the whole message is the header as it now is and the body`() async throws {
        let (message, body) = try self.message(body: 1_000)
        #expect(try await message.bytes(limit: 1_006) == Self.header + body)
        await #expect(throws: PluginError("the message has 1006 octets, more than 1005")) {
            try await message.bytes(limit: 1_005)
        }
    }

    @Test func `a file that ends early is an error, not a shorter message`() async throws {
        let (message, _) = try self.message(body: 10, claimed: 11)
        await #expect(throws: PluginError.self) { try await message.bytes(limit: 1_000) }
    }

    @Test func `a file that is not there, or is a symbolic link, is an error`() async throws {
        for path in ["\(self.path)-gone", "/proc/self/exe"] {
            let file = MessageReference(path: path, size: 9, bodyOffset: 0)
            let message = Message(headers: [Self.field], file: file)
            await #expect(throws: PluginError.self) { try await message.bytes(limit: 1_000) }
        }
    }
}
