import RESP
import Testing

@testable import Stores

@Suite struct RedisHandshakeTests {
    private func words(_ step: RedisHandshake.Step) -> String? {
        guard case .send(let words) = step else { return nil }
        return words.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
    }

    private static let ok = RESPValue.string(Array("OK".utf8))
    private static let hello = RESPValue.array([.string(Array("server".utf8)), .string([])])
    private static let unknown = RESPValue.error(
        "ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `me`, `s3cret`, "
    )

    @Test func `a server without a password is greeted`() {
        var handshake = RedisHandshake(user: nil, password: nil, database: 0)
        #expect(self.words(handshake.start()) == "HELLO 3")
        #expect(handshake.received(Self.hello) == .done)
    }

    @Test func `login and database go along`() {
        var handshake = RedisHandshake(user: "me", password: "s3cret", database: 7)
        #expect(self.words(handshake.start()) == "HELLO 3 AUTH me s3cret")
        #expect(self.words(handshake.received(Self.hello)) == "SELECT 7")
        #expect(handshake.received(Self.ok) == .done)
        handshake = RedisHandshake(user: nil, password: "s3cret", database: 0)
        #expect(self.words(handshake.start()) == "HELLO 3 AUTH default s3cret")
    }

    @Test func `a server that speaks RESP2 alone is logged in to by AUTH`() {
        for refusal in [Self.unknown, .error("NOPROTO unsupported protocol version")] {
            var handshake = RedisHandshake(user: "me", password: "s3cret", database: 1)
            _ = handshake.start()
            #expect(self.words(handshake.received(refusal)) == "AUTH me s3cret")
            #expect(self.words(handshake.received(Self.ok)) == "SELECT 1")
            #expect(handshake.received(Self.ok) == .done)
            handshake = RedisHandshake(user: nil, password: "s3cret", database: 0)
            _ = handshake.start()
            #expect(self.words(handshake.received(refusal)) == "AUTH s3cret")
            #expect(handshake.received(Self.ok) == .done)
            handshake = RedisHandshake(user: nil, password: nil, database: 0)
            _ = handshake.start()
            #expect(handshake.received(refusal) == .done)
        }
    }

    @Test func `a refusal ends it, in the server's words but without the password`() {
        var handshake = RedisHandshake(user: nil, password: "s3cret", database: 3)
        _ = handshake.start()
        let wrong = RESPValue.error("WRONGPASS invalid username-password pair or user is disabled.")
        #expect(
            handshake.received(wrong)
                == .failed("WRONGPASS invalid username-password pair or user is disabled.")
        )
        handshake = RedisHandshake(user: nil, password: "s3cret", database: 3)
        _ = handshake.start()
        _ = handshake.received(Self.unknown)
        #expect(handshake.received(.error("ERR s3cret is wrong")) == .failed("ERR … is wrong"))
        handshake = RedisHandshake(user: nil, password: nil, database: 3)
        _ = handshake.start()
        _ = handshake.received(Self.hello)
        let range = "ERR DB index is out of range"
        #expect(handshake.received(.error(range)) == .failed(range))
    }

    @Test(arguments: [RESPValue.null, .integer(1), .push([])])
    func `an answer without sense ends it`(reply: RESPValue) {
        for replies in [[], [Self.unknown], [Self.hello]] {
            var handshake = RedisHandshake(user: nil, password: "x", database: 1)
            _ = handshake.start()
            for each in replies { _ = handshake.received(each) }
            #expect(
                handshake.received(reply) == .failed("the answer to the greeting makes no sense")
            )
        }
    }

    @Test func `a script is known by its SHA-1`() {
        // RFC 3174 §7.3
        let digest = String(decoding: RedisScript("abc").digest, as: UTF8.self)
        #expect(digest == "a9993e364706816aba3e25717850c26c9cd0d89d")
    }
}
