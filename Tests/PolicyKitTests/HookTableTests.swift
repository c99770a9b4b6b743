import PolicyKitTesting
import ProtocolTables
import Testing

@testable import PolicyKit

/// What PolicyKit knows of each hook is what `protocol/hooks.json` and `words.json` say.
@Suite struct HookTableTests {
    /// A plugin that serves every hook.
    private struct Everything:
        ConnectHook, HeloHook, EhloHook, AuthHook, MailHook, RcptHook, DataHook,
        DataHeadersEndHook, ReceivedLineHook, DataPostHeadersHook, DataPostHook, QueuePreHook,
        QueueHook, VrfyHook, HelpHook, NoopHook, UnrecognizedCommandHook, QuitHook,
        ResetTransactionHook, QueuePostHook, DenyHook, OkHook, DisconnectHook, StatusHook
    {
        static let name = "everything"

        init(configuration: PluginConfiguration) {}
        init() {}

        func connect(_ event: ConnectEvent) async throws -> Answer { .declined }
        func helo(_ event: HeloEvent) async throws -> Answer { .declined }
        func ehlo(_ event: EhloEvent) async throws -> Answer { .declined }
        func auth(_ event: AuthEvent) async throws -> Answer { .declined }
        func mail(_ event: MailEvent) async throws -> Answer { .declined }
        func rcpt(_ event: RcptEvent) async throws -> Answer { .declined }
        func data(_ event: DataEvent) async throws -> Answer { .declined }
        func dataHeadersEnd(_ event: DataHeadersEndEvent) async throws -> Answer { .declined }
        func receivedLine(_ event: ReceivedLineEvent) async throws -> Answer { .declined }
        func dataPostHeaders(_ event: DataPostHeadersEvent) async throws -> Answer { .declined }
        func dataPost(_ event: DataPostEvent) async throws -> Answer { .declined }
        func queuePre(_ event: QueuePreEvent) async throws -> Answer { .declined }
        func queue(_ event: QueueEvent) async throws -> Answer { .declined }
        func vrfy(_ event: VrfyEvent) async throws -> Answer { .declined }
        func help(_ event: HelpEvent) async throws -> Answer { .declined }
        func noop(_ event: NoopEvent) async throws -> Answer { .declined }
        func unrecognizedCommand(_ event: UnrecognizedCommandEvent) async throws -> Answer {
            .declined
        }
        func quit(_ event: QuitEvent) async throws -> Answer { .declined }
        func resetTransaction(_ event: ResetTransactionEvent) async throws {}
        func queuePost(_ event: QueuePostEvent) async throws {}
        func deny(_ event: DenyEvent) async throws {}
        func ok(_ event: OkEvent) async throws {}
        func disconnect(_ event: DisconnectEvent) async throws {}
        func status(_ event: StatusEvent) async throws {}
    }

    private static var stages: [Hook: any HookStage.Type] {
        [
            .connect: ConnectStage.self, .helo: HeloStage.self, .ehlo: EhloStage.self,
            .auth: AuthStage.self, .mail: MailStage.self, .rcpt: RcptStage.self,
            .data: DataStage.self, .data_headers_end: DataHeadersEndStage.self,
            .received_line: ReceivedLineStage.self, .data_post_headers: DataPostHeadersStage.self,
            .data_post: DataPostStage.self, .queue_pre: QueuePreStage.self, .queue: QueueStage.self,
            .vrfy: VrfyStage.self, .help: HelpStage.self, .noop: NoopStage.self,
            .unrecognized_command: UnrecognizedCommandStage.self, .quit: QuitStage.self,
            .reset_transaction: ResetTransactionStage.self, .queue_post: QueuePostStage.self,
            .deny: DenyStage.self, .ok: OkStage.self, .disconnect: DisconnectStage.self,
            .status: StatusStage.self,
        ]
    }

    @Test(arguments: ProtocolTables.hooks)
    func `a plugin is asked or told as the row says`(row: HookRow) throws {
        let handlers = HookHandler.all(of: Everything())
        #expect(handlers.count == ProtocolTables.hooks.count)
        let hook = try #require(row.hook)
        let handler = try #require(handlers[hook])
        let isAsked = if case .ask = handler { true } else { false }
        #expect(isAsked == row.isAsked)
    }

    /// What a plugin may do at a hook is what its stage says at compile time.
    @Test(arguments: ProtocolTables.hooks)
    func `the stage allows the actions of the row, and has its transaction`(row: HookRow) throws {
        let hook = try #require(row.hook)
        let stage = try #require(Self.stages[hook])
        var actions: Set<String> = []
        if stage is any RelayStage.Type { actions.insert("session.relay") }
        if stage is any ClientNameStage.Type { actions.insert("session.client_name") }
        if stage is any DelayStage.Type { actions.insert("reply.delay") }
        if stage is any ChallengeStage.Type { actions.insert("auth.challenge") }
        if stage is any SenderStage.Type { actions.insert("sender.replace") }
        if stage is any MessageStage.Type { actions.insert("message.replace") }
        if stage is any RecipientStage.Type {
            actions.formUnion(["recipient.add", "recipient.remove", "recipient.replace"])
        }
        if stage is any RecipientRefusalStage.Type { actions.insert("recipient.refuse") }
        if stage is any HeaderStage.Type {
            actions.formUnion(["header.add", "header.set", "header.delete", "header.delete_all"])
        }
        #expect(actions == Set(row.actions))
        #expect((stage is any TransactionStage.Type) == (row.transaction == "yes"))
    }

    @Test(arguments: ProtocolTables.hooks, Verdict.allCases)
    func `an answer is refused where the row has no reply for it`(
        row: HookRow,
        verdict: Verdict
    ) throws {
        let hook = try #require(row.hook)
        guard row.isAsked, verdict != .declined else { return }
        let violation = Answer(verdict).violation(at: hook)
        let isForbidden = violation?.hasPrefix("verdict_not_allowed") ?? false
        #expect(isForbidden == (row.verdicts[verdict.rawValue] == nil))
    }

    @Test func `the error codes are those that the table gives PolicyKit`() {
        let codes = ProtocolTables.objects("error_codes")
        let ours = codes.filter { code in
            guard case .array(let sdks)? = code["sdks"] else { return false }
            return sdks.contains(.string("Swift"))
        }
        #expect(
            Set(ErrorCode.allCases.map { JSONValue.string($0.rawValue) })
                == Set(ours.compactMap { $0["code"] })
        )
        for code in codes {
            guard case .string(let word)? = code["code"], let ours = ErrorCode(rawValue: word)
            else { continue }
            let isFinal = code["started"] != .string("false")
            #expect(isFinal == ours.isStarted)
        }
    }

    @Test func `the limits are those of the table`() {
        #expect(WorkerService.maximumFrameOctets == ProtocolTables.limit("sdk_max_frame"))
        #expect(WorkerOutput().peerMaximumFrameOctets == ProtocolTables.limit("handshake_frame"))
        let longest = ProtocolTables.limit("header_line_octets")
        for octets in [longest, longest + 1] {
            // The name, its colon, a space, and a value without a place to fold.
            let value = " " + String(repeating: "a", count: octets - "X: ".utf8.count)
            let legal = HeaderText.legal(Bytes(value), nameOctets: 1, allows8Bit: false)
            #expect((legal == Bytes(value)) == (octets == longest))
        }
    }

    @Test func `a reply without text has the hook's own`() {
        #expect(Answer.deny("", code: 550).violation(at: .rcpt) == nil)
        #expect(Answer.done(250, nil, "").violation(at: .queue_pre) != nil)
    }
}
