import Logging
import PolicyKitTesting
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

struct RuntimeTests {
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
        #expect(hook.ordinal == Hook.allCases.firstIndex(of: hook))
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
