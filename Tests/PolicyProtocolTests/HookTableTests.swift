import JSON
import ProtocolTables
import Testing

@testable import PolicyProtocol

/// Swift's rules for hooks and verdicts are those of `protocol/hooks.json`, row by row.
@Suite struct HookTableTests {
    static let verdicts = Verdict.allCases

    @Test func `the hooks are those of the table, in its order`() {
        #expect(Hook.allCases.map(\.rawValue) == ProtocolTables.hooks.map(\.word))
        for (index, hook) in Hook.allCases.enumerated() {
            #expect(hook.index == UInt8(index))
            #expect("\(hook.word)" == hook.rawValue)
            let later = Hook.allCases.filter { HookSet(after: hook).contains($0) }
            #expect(later == Array(Hook.allCases[(index + 1)...]))
        }
    }

    @Test(arguments: ProtocolTables.hooks)
    func `a hook is asked, or only tells, and goes ahead, as its row says`(row: HookRow) throws {
        let hook = try #require(row.hook)
        #expect(hook.isNotification == !row.isAsked)
        #expect(hook.following.map(\.rawValue) == row.ahead)
    }

    @Test(arguments: ProtocolTables.hooks, verdicts)
    func `a verdict is allowed where the table has a reply for it`(
        row: HookRow,
        verdict: Verdict
    ) throws {
        let hook = try #require(row.hook)
        let isAllowed = Self.code(of: Self.answer(verdict), at: hook) != .verdict_not_allowed
        #expect(isAllowed == (row.verdicts[verdict.rawValue] != nil))
    }

    @Test(arguments: ProtocolTables.asked)
    func `ok has the codes of the table, and brings what it says`(row: HookRow) throws {
        let hook = try #require(row.hook)
        guard row.verdicts["ok"] != nil else { return }
        let codes = (100..<700).filter { code in
            let answer = Self.answer(.ok, PolicyReply(code: code, text: ["x"]))
            return Self.code(of: answer, at: hook) == nil
        }
        #expect(codes == row.okCodes)
        let worded = Self.code(of: Self.answer(.ok, PolicyReply(text: ["x"])), at: hook)
        #expect((worded == nil) == (row.okReply != "none"))
        let silent = Self.code(of: Self.answer(.ok, nil), at: hook)
        #expect((silent == .reply_missing) == (row.okReply == "text"))
    }

    @Test(arguments: ProtocolTables.hooks)
    func `the actions are allowed that the table names`(row: HookRow) throws {
        let hook = try #require(row.hook)
        let allowed = Self.actions.filter { _, action in
            ActionRules.violation(of: action, at: hook, index: 0, allowsUTF8: false)?.code
                != .action_not_allowed
        }
        #expect(Set(allowed.keys) == Set(row.actions))
    }

    /// An action for each `op` of the table.
    static let actions: [String: PolicyAction] = {
        let fields: [String: String] = [
            "name": #""X-A""#, "value": #""b""#, "id": "1", "address": #""a@example.com""#,
            "path": #""file""#, "ms": "1", "verdict": #""deny""#, "challenge": #""a""#,
            "state": #""b""#,
        ]
        var actions: [String: PolicyAction] = [:]
        for (operation, needed) in ProtocolTables.object("actions") {
            guard case .array(let names) = needed else { continue }
            let members = names.compactMap { name -> String? in
                guard case .string(let name) = name else { return nil }
                let value = operation == "session.relay" && name == "value" ? "true" : fields[name]
                return value.map { #","\#(name)":\#($0)"# }
            }
            let list = #"[{"op":"\#(operation)"\#(members.joined())}]"#
            guard let value = try? JSONValue(parsing: Array(list.utf8)),
                let action = try? PolicyVerdict.actions(value).first
            else { continue }
            actions[operation] = action
        }
        return actions
    }()

    private static func answer(_ verdict: Verdict, _ reply: PolicyReply? = nil) -> PolicyVerdict {
        var answer = PolicyVerdict(id: 1, verdict: verdict)
        answer.reply = reply
        return answer
    }

    private static func code(of answer: PolicyVerdict, at hook: Hook) -> ViolationCode? {
        answer.violation(for: hook, hasTransaction: true, allowsUTF8: false)?.code
    }
}

/// Swift's words and limits are those of `protocol/words.json`.
@Suite struct WordTableTests {
    @Test func `the verdicts are those of the table`() {
        #expect(Verdict.allCases.map(\.rawValue) == ProtocolTables.words("verdicts"))
        #expect(Verdict.allCases.map { "\($0.word)" } == ProtocolTables.words("verdicts"))
    }

    @Test func `the needs are those of the table, a bit each`() {
        let words = ProtocolTables.words("needs")
        #expect(words.map { Needs(word: $0)?.rawValue } == [1, 2, 4, 8])
        #expect(Needs(rawValue: 15).words == words)
        #expect(Needs(word: "everything") == nil)
    }

    @Test func `the extensions are those of the table, a bit each`() {
        let words = ProtocolTables.words("extensions")
        #expect(words.map { QueueExtensions(keywords: [$0]).rawValue } == [1, 2])
        #expect(QueueExtensions.all.keywords == words)
        #expect(QueueExtensions(keywords: ["DELIVERBY", "futurerelease"]).isEmpty)
    }

    @Test func `the violations are those of the table`() {
        let table = Set(ProtocolTables.words("broken_lines") + ProtocolTables.words("violations"))
        #expect(Set(ViolationCode.allCases.map(\.rawValue)) == table)
    }

    @Test func `each side says the codes and reasons that the table gives it`() {
        func said(_ member: String, by side: String) -> Set<String> {
            Set(ProtocolTables.object(member).filter { $0.value == .string(side) }.keys)
        }
        let rejects = FrontendLine.RejectCode.allCases.map(\.rawValue)
        #expect(rejects == ProtocolTables.words("reject_codes"))
        #expect(
            Set(FrontendLine.ByeCode.allCases.map(\.rawValue)) == said("bye_codes", by: "frontend")
        )
        #expect(Set(WorkerLine.ByeCode.allCases.map(\.rawValue)) == said("bye_codes", by: "worker"))
        #expect(
            Set(FrontendLine.DrainReason.allCases.map(\.rawValue))
                == said("drain_reasons", by: "frontend")
        )
        #expect(
            Set(WorkerLine.DrainReason.allCases.map(\.rawValue))
                == said("drain_reasons", by: "worker")
        )
    }

    @Test func `every action of the table can be read`() {
        #expect(HookTableTests.actions.keys.sorted() == ProtocolTables.words("actions"))
    }

    @Test(arguments: ProtocolTables.words("messages"))
    func `a frontend takes the messages that a worker sends`(type: String) {
        let sender = ProtocolTables.object("messages")[type]
        var code: ViolationCode?
        do throws(ProtocolViolation) {
            _ = try WorkerMessage.decode(Array(#"{"type":"\#(type)"}"#.utf8))
        } catch {
            code = error.code
        }
        #expect((code == .unexpected_message) == (sender == .string("frontend")))
        #expect(code != .unknown_type)
    }

    @Test func `the limits are those of the table`() {
        #expect(WorkerHello.protocolVersion == 1)
        #expect(WorkerHello.minimumFrameOctets == ProtocolTables.limit("least_max_frame"))
        #expect(WorkerHello.maximumFrameOctets == ProtocolTables.limit("most_max_frame"))
        #expect(WorkerHello.maximumPlugins == ProtocolTables.limit("plugins"))
        #expect(PolicyVerdict.maximumActions == ProtocolTables.limit("actions"))
        #expect(PolicyVerdict.maximumReplyLines == ProtocolTables.limit("reply_lines"))
        #expect(PolicyVerdict.maximumReplyLineOctets == ProtocolTables.limit("reply_line_octets"))
        #expect(PolicyVerdict.maximumNotesOctets == ProtocolTables.limit("notes_octets"))
        #expect(PolicyVerdict.maximumTraceEntries == ProtocolTables.limit("trace"))
        #expect(PolicyVerdict.maximumChallengeOctets == ProtocolTables.limit("challenge_octets"))
        #expect(PolicyVerdict.maximumStateOctets == ProtocolTables.limit("state_octets"))
        #expect(PolicyVerdict.maximumLoginSteps == ProtocolTables.limit("login_steps"))
        #expect(ShortText.maximumCharacters == ProtocolTables.limit("short_text"))
        #expect(WorkerLine.maximumTextCharacters == ProtocolTables.limit("free_text"))
    }

    @Test func `a hello that leaves out a limit gets the table's`() throws {
        let line =
            #"{"type":"hello","protocol":[1,1],"pool":"p","worker":{"name":"w"},"hooks":{}}"#
        guard case .hello(.success(let hello)) = try WorkerMessage.decode(Array(line.utf8)) else {
            Issue.record("no hello")
            return
        }
        #expect(hello.concurrency == ProtocolTables.limit("default_concurrency"))
        #expect(hello.maximumFrameOctets == ProtocolTables.limit("default_max_frame"))
    }

    /// Limits that have no name in Swift: the longest is taken, one more is not.
    @Test(arguments: [
        "code", "header_name_octets", "header_value_octets", "client_name_octets", "path_octets",
        "pool_name", "worker_name", "concurrency", "nesting", "integer",
    ])
    func `a limit of the table is the last that is taken`(name: String) throws {
        let limit = ProtocolTables.limit(name)
        #expect(try Self.isTaken(limit, name))
        #expect(try !Self.isTaken(limit + 1, name))
    }

    private struct UnknownLimit: Error {}

    private static func isTaken(_ count: Int, _ name: String) throws -> Bool {
        let isNumber = name == "concurrency" || name == "integer"
        let text = String(repeating: "a", count: isNumber ? 1 : count)
        let octets = Array(text.utf8)
        return switch name {
        case "code": CodeWord.isWord(text)
        case "header_name_octets": self.isAllowed(.deleteHeaders(name: octets))
        case "header_value_octets": self.isAllowed(.setHeader(id: 1, value: octets))
        case "client_name_octets": self.isAllowed(.setClientName(octets), at: .connect)
        case "path_octets": self.isAllowed(.replaceMessage(path: text), at: .data_post)
        case "pool_name": self.isHello(pool: text, worker: "a")
        case "worker_name": self.isHello(pool: "a", worker: text)
        case "concurrency": self.isHello(pool: "a", worker: "a", concurrency: count)
        // The line itself is the first level.
        case "nesting":
            self.isLine(
                #"{"type":"pong","n":1,"x":"#
                    + String(repeating: "[", count: count - 1)
                    + String(repeating: "]", count: count - 1) + "}"
            )
        case "integer": self.isLine(#"{"type":"pong","n":\#(count)}"#)
        default: throw UnknownLimit()
        }
    }

    private static func isLine(_ line: String) -> Bool {
        (try? WorkerMessage.decode(Array(line.utf8))) != nil
    }

    private static func isAllowed(
        _ action: PolicyAction,
        at hook: Hook = .queue_pre
    ) -> Bool {
        ActionRules.violation(of: action, at: hook, index: 0, allowsUTF8: false) == nil
    }

    private static func isHello(
        pool: String,
        worker: String,
        concurrency: Int = 1
    ) -> Bool {
        let line =
            #"{"type":"hello","protocol":[1,1],"pool":"\#(pool)","worker":{"name":"\#(worker)"},"#
            + #""concurrency":\#(concurrency),"hooks":{}}"#
        guard case .hello(.success)? = try? WorkerMessage.decode(Array(line.utf8)) else {
            return false
        }
        return true
    }
}
