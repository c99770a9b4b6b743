import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

/// Counts in the store at every hook at which one may be refused.
private struct StoreUser: ConnectHook, EhloHook, MailHook, RcptHook, DataHook, DataHeadersEndHook,
    DataPostHook, QueuePreHook
{
    static let name = "store_user"

    let store: PluginStore

    init(configuration: PluginConfiguration) { self.store = configuration.guardedStore() }

    private func count<Stage>(_ event: HookEvent<Stage>) async -> Answer {
        switch await self.store.use(event, { try await $0.add(1, to: "a", expiresIn: nil) }) {
        case .done(let count): count > 1 ? .denysoft : .declined
        case .failed(let answer): answer
        }
    }

    func connect(_ event: ConnectEvent) async throws -> Answer { await self.count(event) }
    func ehlo(_ event: EhloEvent) async throws -> Answer { await self.count(event) }
    func mail(_ event: MailEvent) async throws -> Answer { await self.count(event) }
    func rcpt(_ event: RcptEvent) async throws -> Answer { await self.count(event) }
    func data(_ event: DataEvent) async throws -> Answer { await self.count(event) }
    func dataHeadersEnd(_ event: DataHeadersEndEvent) async throws -> Answer {
        await self.count(event)
    }
    func dataPost(_ event: DataPostEvent) async throws -> Answer { await self.count(event) }
    func queuePre(_ event: QueuePreEvent) async throws -> Answer { await self.count(event) }
}

@Suite struct StoreFailureTests {
    private static let message = "From: <a@b.example>\r\n\r\nhello\r\n"
    private static let text = "Temporary failure, try again later"

    private func answers(_ line: String, _ store: FailingStore) async throws -> [Answer] {
        let session = try await TestSession([StoreUser.self], plugins: line, store: store)
        var answers = [try await session.connect(), try await session.ehlo("a")]
        answers.append(try await session.mail(from: "bob@example.net"))
        answers.append(try await session.rcpt(to: "jo@example.com"))
        answers.append(try await session.data())
        answers.append(try await session.message(Self.message, at: .data_headers_end))
        answers.append(try await session.message(Self.message, at: .data_post))
        answers.append(try await session.message(Self.message, at: .queue_pre))
        return answers
    }

    @Test(arguments: [FailingStore.dead, .full])
    func `without another word the plugin declines`(store: FailingStore) async throws {
        let answers = try await self.answers("store_user", store)
        #expect(answers.allSatisfy { $0 == .declined })
    }

    @Test func `tempfail refuses for now at every hook`() async throws {
        let answers = try await self.answers("store_user on_store_failure tempfail", .dead)
        let usual = Answer.denysoft(Self.text, code: 451, status: "4.3.0")
        #expect(
            answers == [
                .denysoft(Self.text, status: "4.3.0"), usual, usual, usual, usual,
                .denysoftDisconnect(Self.text, code: 451, status: "4.3.0"), usual,
                .done(451, "4.3.0", Self.text),
            ]
        )
    }

    @Test func `a store that never answers is given up in the event's time`() async throws {
        let line = "store_user on_store_failure tempfail"
        let session = try await TestSession(
            [StoreUser.self],
            plugins: line,
            store: FailingStore.silent
        )
        session.deadline = .milliseconds(700)
        let answer = try await session.mail(from: "bob@example.net")
        #expect(answer == .denysoft(Self.text, code: 451, status: "4.3.0"))
    }

    @Test func `a store that works is used`() async throws {
        let session = try await TestSession([StoreUser.self], plugins: "store_user")
        #expect(try await session.connect() == .declined)
        #expect(try await session.connect() == .denysoft)
    }

    @Test func `another word is a mistake`() async throws {
        await #expect(throws: PluginProblems.self) {
            try await TestSession([StoreUser.self], plugins: "store_user on_store_failure maybe")
        }
    }
}
