import JSON
import Octets
import Synchronization

@testable import PolicyKit

/// What a golden transcript says a hook's plugin does.
struct Script: Sendable {
    var verdict = Verdict.declined
    var reply: PolicyReply?
    var sessionNotes: [String: JSONValue] = [:]
    var transactionNotes: [String: JSONValue] = [:]
    var actions: [PolicyAction] = []
    var failure: String?
    var extensionMilliseconds: Int?
    var waitsForCancel = false
    var needs: Needs = []
    var isObserver = false
    var isIdempotent = false
    var extensions: QueueExtensions = []

    /// The scripts of the transcripts, by the argument on the plugin's line.
    static let all = Mutex<[String: [Hook: Script]]>([:])
}

/// A plugin that does what a golden transcript's first line says.
struct Scripted: Plugin, ConnectHook, HeloHook, EhloHook, AuthHook, MailHook, RcptHook, DataHook,
    DataHeadersEndHook, ReceivedLineHook, DataPostHeadersHook, DataPostHook, QueuePreHook,
    QueueHook,
    VrfyHook, HelpHook, NoopHook, UnrecognizedCommandHook, QuitHook, QueuePostHook,
    ResetTransactionHook, DenyHook, OkHook, DisconnectHook, StatusHook, ObserverHook
{
    static let name = "scripted"

    let scripts: [Hook: Script]

    init(configuration: PluginConfiguration) throws {
        let name = try configuration.requiredPositional("transcript", as: .text)
        self.scripts = Script.all.withLock { $0[name] } ?? [:]
    }

    var observedHooks: Set<Hook> { Set(self.scripts.filter(\.value.isObserver).keys) }

    func subscription(at hook: Hook) -> Subscription? {
        self.scripts[hook].map {
            Subscription($0.needs, isIdempotent: $0.isIdempotent, extensions: $0.extensions)
        }
    }

    private func play<Stage>(_ event: HookEvent<Stage>) async throws -> Answer {
        guard let script = self.scripts[event.hook] else { return .declined }
        if let milliseconds = script.extensionMilliseconds {
            event.extendTime(by: .milliseconds(milliseconds))
        }
        if script.waitsForCancel {
            try? await Task.sleep(for: .seconds(60))
        }
        if let failure = script.failure {
            throw PluginError(failure)
        }
        self.patch(event, .session, script.sessionNotes)
        self.patch(event, .transaction, script.transactionNotes)
        for action in script.actions {
            event.context.append(action)
        }
        return Answer(script.verdict, script.reply)
    }

    /// A transcript says what is to be merged; PolicyKit wants to know what is to be.
    private func patch<Stage>(
        _ event: HookEvent<Stage>,
        _ scope: NoteScope,
        _ changes: [String: JSONValue]
    ) {
        for (name, change) in changes {
            let before = event.context.note(name, in: scope) ?? .null
            let after = before.merging(change)
            event.context.setNote(name, in: scope, to: after == .null ? nil : after)
        }
    }

    private func hear<Stage>(_ event: HookEvent<Stage>) async throws {
        guard let failure = self.scripts[event.hook]?.failure else { return }
        throw PluginError(failure)
    }

    func connect(_ event: ConnectEvent) async throws -> Answer { try await self.play(event) }
    func helo(_ event: HeloEvent) async throws -> Answer { try await self.play(event) }
    func ehlo(_ event: EhloEvent) async throws -> Answer { try await self.play(event) }
    func auth(_ event: AuthEvent) async throws -> Answer { try await self.play(event) }
    func mail(_ event: MailEvent) async throws -> Answer { try await self.play(event) }
    func rcpt(_ event: RcptEvent) async throws -> Answer { try await self.play(event) }
    func data(_ event: DataEvent) async throws -> Answer { try await self.play(event) }
    func dataHeadersEnd(_ event: DataHeadersEndEvent) async throws -> Answer {
        try await self.play(event)
    }
    func receivedLine(_ event: ReceivedLineEvent) async throws -> Answer {
        try await self.play(event)
    }
    func dataPostHeaders(_ event: DataPostHeadersEvent) async throws -> Answer {
        try await self.play(event)
    }
    func dataPost(_ event: DataPostEvent) async throws -> Answer { try await self.play(event) }
    func queuePre(_ event: QueuePreEvent) async throws -> Answer { try await self.play(event) }
    func queue(_ event: QueueEvent) async throws -> Answer { try await self.play(event) }
    func vrfy(_ event: VrfyEvent) async throws -> Answer { try await self.play(event) }
    func help(_ event: HelpEvent) async throws -> Answer { try await self.play(event) }
    func noop(_ event: NoopEvent) async throws -> Answer { try await self.play(event) }
    func unrecognizedCommand(_ event: UnrecognizedCommandEvent) async throws -> Answer {
        try await self.play(event)
    }
    func quit(_ event: QuitEvent) async throws -> Answer { try await self.play(event) }
    func queuePost(_ event: QueuePostEvent) async throws { try await self.hear(event) }
    func resetTransaction(_ event: ResetTransactionEvent) async throws {
        try await self.hear(event)
    }
    func deny(_ event: DenyEvent) async throws { try await self.hear(event) }
    func ok(_ event: OkEvent) async throws { try await self.hear(event) }
    func disconnect(_ event: DisconnectEvent) async throws { try await self.hear(event) }
    func status(_ event: StatusEvent) async throws { try await self.hear(event) }
    func observe(_ event: ObservedEvent) async throws { try await self.hear(event) }
}

extension Script {
    init(_ json: JSONValue) {
        self.verdict = json.text("verdict").flatMap { Verdict(rawValue: $0) } ?? .declined
        self.reply = json["reply"].flatMap { PolicyReply(json: $0) }
        self.sessionNotes = json["notes"]?["session"]?.members ?? [:]
        self.transactionNotes = json["notes"]?["transaction"]?.members ?? [:]
        self.actions = (json["actions"].flatMap { try? PolicyVerdict.actions($0) }) ?? []
        self.failure = json.text("raise")
        self.extensionMilliseconds = json["progress"].flatMap { Int(json: $0) }
        self.waitsForCancel = json.text("until") == "cancel"
        for need in json["needs"]?.elements ?? [] {
            switch need {
            case .string("recipients"): self.needs.insert(.recipients)
            case .string("headers"): self.needs.insert(.headers)
            case .string("message"): self.needs.insert(.message)
            default: self.needs.insert(.trace)
            }
        }
        self.isObserver = json["observe"] == .bool(true)
        self.isIdempotent = json["idempotent"] == .bool(true)
        self.extensions = QueueExtensions(
            keywords: (json["extensions"]?.elements ?? []).compactMap { String(json: $0) }
        )
    }
}

extension JSONValue {
    func text(_ key: String) -> String? { self[key].flatMap { String(json: $0) } }

    var members: [String: JSONValue]? {
        if case .object(let members) = self { members } else { nil }
    }

    var elements: [JSONValue]? {
        if case .array(let elements) = self { elements } else { nil }
    }
}

extension JSONValue {
    /// A member of type Bytes, in either of its forms.
    func bytes(_ key: String) throws -> Bytes {
        switch self[key] {
        case .string(let text)?: return Bytes(text)
        case .object(let members)?:
            if case .string(let text)? = members["b64"], let octets = Base64.decode(text) {
                return Bytes(octets: octets)
            }
        default: break
        }
        throw PluginError("\(key) is no Bytes")
    }
}
