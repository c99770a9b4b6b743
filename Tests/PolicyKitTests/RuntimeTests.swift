import Logging
import PolicyKitTesting
import System
import Testing

@testable import PolicyKit

/// A plugin whose answers are what a test says.
private struct Answers: QuitHook, DataPostHeadersHook, ConnectHook {
    static let name = "answers"

    init(configuration: PluginConfiguration) {}

    func quit(_ event: QuitEvent) async throws -> Answer { .deny }

    func dataPostHeaders(_ event: DataPostHeadersEvent) async throws -> Answer {
        .deny("no")
    }

    func connect(_ event: ConnectEvent) async throws -> Answer {
        .deny("two\r\nlines")
    }
}

/// Accepts every recipient, adds one twice, and lets the next see who is there.
private struct AddsTwice: RcptHook, DataHook {
    static let name = "adds_twice"

    init(configuration: PluginConfiguration) {}

    func subscription(at hook: Hook) -> Subscription? { Subscription(.recipients) }

    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }

    func data(_ event: DataEvent) async throws -> Answer {
        event.addRecipient("Me@EXAMPLE.com")
        event.addRecipient("new@example.com")
        event.addRecipient("new@example.com")
        let seen = event.recipients.map { $0.address.description }
        return .deny(seen.joined(separator: " "))
    }
}

/// Refuses single recipients, by their local part.
private struct RefusesSome: RcptHook, DataPostHook {
    static let name = "refuses_some"

    init(configuration: PluginConfiguration) {}

    func subscription(at hook: Hook) -> Subscription? { Subscription(.recipients) }

    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }

    func dataPost(_ event: DataPostEvent) async throws -> Answer {
        for recipient in event.recipients {
            switch recipient.local.string {
            case "never": event.refuseRecipient(recipient, .deny("not me", code: 550))
            case "later": event.refuseRecipient(recipient, .denysoft)
            case "wrong": event.refuseRecipient(recipient, .ok)
            default: break
            }
        }
        return event.transaction.repliesEach ? .declined : .denysoft
    }
}

struct RuntimeTests {
    @Test func `a plugin refuses single recipients`() async throws {
        let session = try await TestSession([RefusesSome.self], plugins: "refuses_some")
        try await session.mail(from: "bob@example.net")
        for local in ["never", "jo", "later"] {
            try await session.rcpt(to: "\(local)@example.com")
        }
        session.repliesEach = true
        #expect(try await session.message("a: b\r\n\r\n") == .declined)
        #expect(session.recipients.map(\.local) == ["jo"])
        let refused = session.refusedRecipients
        #expect(refused.map(\.recipient.local) == ["never", "later"])
        #expect(refused.map(\.answer) == [.deny("not me", code: 550), .denysoft])
        session.repliesEach = false
        #expect(try await session.messageReached(.data_post) == .denysoft)
        try await session.rcpt(to: "wrong@example.com")
        await #expect(throws: TestFailure.self) { try await session.messageReached(.data_post) }
    }

    @Test func `a recipient that is there already is not added again`() async throws {
        let session = try await TestSession([AddsTwice.self], plugins: "adds_twice")
        try await session.mail(from: "bob@example.net")
        for recipient in ["Me@example.com", "me@example.com", "Me@Example.com"] {
            try await session.rcpt(to: recipient)
        }
        let expected = ["Me@example.com", "me@example.com", "new@example.com"]
        let answer = try await session.data()
        #expect(answer.reply?.text == [expected.joined(separator: " ")])
        #expect(session.recipients.map { $0.address.description } == expected)
        #expect(Set(session.recipients.map(\.id)).count == 3)
    }

    @Test func `a verdict that the hook cannot honour is an error of the plugin`() async throws {
        let session = try await TestSession([Answers.self], plugins: "answers")
        await #expect(throws: TestFailure.self) { try await session.quit() }
        await #expect(throws: TestFailure.self) {
            try await session.message("", at: .data_post_headers)
        }
        await #expect(throws: TestFailure.self) { try await session.connect() }
    }

    @Test(arguments: Hook.allCases)
    func `a hook's place in the table is its own`(hook: Hook) {
        var table = HookTable<String>()
        table[hook] = hook.rawValue
        #expect(Hook.allCases.compactMap { table[$0] } == [hook.rawValue])
    }

    @Test func `a delay is random, grows to two seconds, and begins again`() {
        var backoff = Backoff()
        var generator = SystemRandomNumberGenerator()
        for ceiling in [50, 100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000] {
            let delay = backoff.next(using: &generator)
            #expect(delay > .zero && delay <= .milliseconds(ceiling))
        }
        backoff.reset()
        #expect(backoff.next(using: &generator) <= .milliseconds(50))
    }

    @Test(arguments: [
        ("+1", Logger.Level.info, Logger.Level.debug), ("-1", .info, .notice),
        ("0", .debug, .critical),
        ("3", .debug, .error), ("-7", .debug, .critical), ("+7", .critical, .debug),
    ])
    func `loglevel forces or shifts`(word: String, before: Logger.Level, after: Logger.Level) {
        #expect(LogLevelChange(word: word)?.applied(to: before) == after)
    }

    @Test func `octets show what they are`() {
        #expect(Bytes(octets: [0x61, 0xFF, 0x0A, 0x5C]).description == #"a\xff\x0a\x5c"#)
        #expect(Bytes("AbÄ").equalsIgnoringASCIICase("aBÄ"))
        #expect(!Bytes("Ä").equalsIgnoringASCIICase("ä"))
        #expect(Bytes(octets: [0xFF]).string == nil)
    }
}
