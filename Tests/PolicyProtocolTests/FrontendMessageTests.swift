import JSON
import ProtocolTables
import Testing

@testable import PolicyProtocol

/// What a frontend writes, a worker reads.
@Suite struct FrontendMessageTests {
    private func read(_ write: (inout JSONWriter) -> Void) throws -> FrontendMessage {
        var writer = JSONWriter()
        write(&writer)
        #expect(writer.octets.last == 0x0A)
        return try FrontendMessage.decode(writer.octets.dropLast())
    }

    @Test func `a welcome is read as it was written`() throws {
        let message = try self.read {
            FrontendLine.welcome(
                frontendID: "mx1",
                version: "1.2",
                hostname: "mx1.example.org",
                connection: "w7",
                maximumFrameOctets: 1_048_576,
                concurrency: 12,
                spool: "/var/spool/\u{e4}",
                into: &$0
            )
        }
        guard case .welcome(let welcome) = message else { throw Unexpected() }
        let expected = FrontendMessage.Welcome(
            frontend: "mx1",
            connection: "w7",
            concurrency: 12,
            spool: "/var/spool/\u{e4}",
            maximumFrameOctets: 1_048_576
        )
        #expect(welcome == expected)
    }

    @Test func `lines without an event are read as they were written`() throws {
        let reject = try self.read {
            FrontendLine.reject(.pool_full, message: "no", retryMS: 9, into: &$0)
        }
        guard case .reject("pool_full", "no", 9) = reject else { throw Unexpected() }
        let cancel = try self.read { FrontendLine.cancel(id: 7, reason: "deadline", into: &$0) }
        guard case .cancel(7, "deadline") = cancel else { throw Unexpected() }
        guard case .ping(-3) = try self.read({ FrontendLine.ping(-3, into: &$0) }) else {
            throw Unexpected()
        }
        guard case .pong = try self.read({ FrontendLine.pong(1, into: &$0) }) else {
            throw Unexpected()
        }
        let drain = try self.read { FrontendLine.drain(.shutdown, into: &$0) }
        guard case .drain("shutdown") = drain else { throw Unexpected() }
        let bye = try self.read { FrontendLine.bye(.zombie, message: "x", into: &$0) }
        guard case .bye("zombie", "x") = bye else { throw Unexpected() }
    }

    /// Every event and notification of the transcripts, and what every one of them has.
    @Test(arguments: ((try? Transcript.all()) ?? []).filter { $0.side == "both" })
    func `an event of a transcript is read`(transcript: Transcript) throws {
        for step in transcript.steps {
            guard step["from"] == .string("frontend"), let line = step["line"] else { continue }
            guard [.string("event"), .string("notify")].contains(line["type"]) else { continue }
            let event: EventLine
            switch try FrontendMessage.decode(line.encoded) {
            case .event(let line), .notify(let line): event = line
            default: throw Unexpected()
            }
            #expect(.string(event.hook.rawValue) == line["hook"])
            #expect(line["id"] == (event.id == 0 ? nil : .int(event.id)))
            #expect(line["key"] == (event.id == 0 ? nil : .string(event.key)))
            #expect(line["deadline_ms"] == event.deadlineMS.map { .int($0) })
        }
    }

    @Test(arguments: ProtocolTables.words("messages"))
    func `a worker takes the messages that a frontend sends`(type: String) {
        let sender = ProtocolTables.object("messages")[type]
        var code: ViolationCode?
        do throws(ProtocolViolation) {
            _ = try FrontendMessage.decode(Array(#"{"type":"\#(type)"}"#.utf8))
        } catch {
            code = error.code
        }
        #expect((code == .unexpected_message) == (sender == .string("worker")))
        #expect(code != .unknown_type)
    }

    private struct Unexpected: Error {}
}
