import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

@Suite struct PluginsWithoutStoreTests {
    /// Every plugin that uses the store: line, and the hooks at which it is used.
    @Test(arguments: [
        "greylisting", "greylisting recipient 1", "karma reject 1",
        #"limit rule "connections per client 1/1h" rule "messages per client 1/1h""#,
        "rcpt_verify command /bin/false domains example.com",
    ])
    func `each plugin without its store lets mail pass, and changes no karma`(
        line: String
    ) async throws {
        let types: [any Plugin.Type] = [
            Greylisting.self, Karma.self, RateLimit.self, RcptVerify.self,
        ]
        let session = try await TestSession(types, plugins: line, store: FailingStore.dead)
        for _ in 0..<3 {
            #expect(try await session.connect() == .declined)
            #expect(try await session.mail(from: "bob@example.net") == .declined)
            #expect(try await session.rcpt(to: "jo@example.com") == .declined)
            #expect(try await session.data() == .declined)
        }
        #expect(session.note(.karma) == nil)
        session.setNote(.karma, to: -9)
        try await session.notify(.disconnect, ["reason": .string("quit")])
    }

    @Test(arguments: [
        ("greylisting on_store_failure tempfail", Hook.mail),
        ("greylisting recipient 1 on_store_failure tempfail", .rcpt),
        ("karma on_store_failure tempfail", .connect),
        (#"limit on_store_failure tempfail rule "connections per client 1/1h""#, .connect),
        (#"limit on_store_failure tempfail rule "messages per client 1/1h""#, .mail),
        (#"limit on_store_failure tempfail rule "errors per helo 1/1h""#, .mail),
        (#"limit on_store_failure tempfail rule "recipients per client 5/1h burst 2""#, .rcpt),
        ("rcpt_verify command /bin/false domains example.com on_store_failure tempfail", .rcpt),
    ])
    func `each plugin refuses for now where that is wanted`(line: String, hook: Hook) async throws {
        let types: [any Plugin.Type] = [
            Greylisting.self, Karma.self, RateLimit.self, RcptVerify.self,
        ]
        let session = try await TestSession(types, plugins: line, store: FailingStore.dead)
        var answers: [Hook: Answer] = [.connect: try await session.connect()]
        try await session.ehlo("a.example")
        answers[.mail] = try await session.mail(from: "bob@example.net")
        answers[.rcpt] = try await session.rcpt(to: "jo@example.com")
        for (asked, answer) in answers {
            #expect((answer.verdict == .denysoft) == (asked == hook), "\(asked)")
        }
        #expect(answers[hook]?.reply?.status == "4.3.0")
    }
}
