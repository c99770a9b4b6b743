import Glibc
package import JSON
package import PolicyProtocol

/// `protocol/hooks.json` and `protocol/words.json`, for the tests that hold Swift's rules against them.
///
/// What the members mean stands in `protocol/README.md` §11. A file that cannot be read ends the test
/// run: no test could say anything without it.
package enum ProtocolTables {
    /// The rows of `hooks.json`, in its order.
    package static let hooks: [HookRow] = {
        guard case .array(let rows)? = Self.file("hooks.json")["hooks"] else { return [] }
        return rows.map { HookRow(json: $0) }
    }()

    /// The rows of the hooks that want an answer.
    package static let asked: [HookRow] = Self.hooks.filter(\.isAsked)

    private static let words = Self.file("words.json")

    /// The words of a list of `words.json`, or the names of an object's members without an order.
    package static func words(_ member: String) -> [String] {
        switch Self.words[member] {
        case .array(let list)?: list.map(\.text)
        case .object(let members)?: members.keys.sorted()
        default: []
        }
    }

    /// The members of an object of `words.json`, as JSON.
    package static func object(_ member: String) -> [String: JSONValue] {
        guard case .object(let members)? = Self.words[member] else { return [:] }
        return members
    }

    /// The objects of a list of `words.json`.
    package static func objects(_ member: String) -> [JSONValue] {
        guard case .array(let list)? = Self.words[member] else { return [] }
        return list
    }

    /// One of the `limits`; -1 if there is none of this name.
    package static func limit(_ name: String) -> Int {
        guard case .int(let limit)? = Self.object("limits")[name] else { return -1 }
        return Int(limit)
    }

    private static func file(_ name: String) -> JSONValue {
        let here = #filePath
        let root = here.split(separator: "/").dropLast(3).joined(separator: "/")
        let path = "/\(root)/protocol/\(name)"
        guard let file = fopen(path, "r") else { preconditionFailure("\(path): not there") }
        defer { fclose(file) }
        var octets = [UInt8](repeating: 0, count: 1_048_576)
        octets.removeSubrange(fread(&octets, 1, octets.count, file)...)
        do { return try JSONValue(parsing: octets) } catch {
            preconditionFailure("\(path): \(error)")
        }
    }
}

/// A hook of `hooks.json`.
package struct HookRow: Sendable, CustomStringConvertible {
    package let word: String
    /// `nil` if Swift has no hook of this name.
    package let hook: Hook?
    package let isAsked: Bool
    /// `yes`, `no` or `maybe`.
    package let transaction: String
    /// The members of `args` that are always there.
    package let args: [String]
    package let deadlineMS: Int64
    package let hasSideEffects: Bool
    package let ahead: [String]
    /// Each allowed verdict with the client's reply: `554 5.7.1, close`, `go on` or `reply`.
    package let verdicts: [String: String]
    /// Each failure policy with the client's reply.
    package let failures: [String: String]
    package let okCodes: [Int]
    /// `reply`, `text` or `none`.
    package let okReply: String
    package let actions: [String]

    package var description: String { self.word }

    init(json: JSONValue) {
        self.word = json["hook"]?.text ?? ""
        self.hook = Hook(rawValue: self.word)
        self.isAsked = json["asked"] == .bool(true)
        self.transaction = json["transaction"]?.text ?? ""
        self.args = json["args"]?.texts ?? []
        self.deadlineMS = json["deadline_ms"]?.integer ?? 0
        self.hasSideEffects = json["side_effects"] == .bool(true)
        self.ahead = json["ahead"]?.texts ?? []
        self.verdicts = json["verdicts"]?.members ?? [:]
        self.failures = json["failures"]?.members ?? [:]
        self.okCodes = (json["ok_codes"]?.list ?? []).map { Int($0.integer) }
        self.okReply = json["ok_reply"]?.text ?? ""
        self.actions = json["actions"]?.texts ?? []
    }
}

extension JSONValue {
    fileprivate var list: [JSONValue] { if case .array(let list) = self { list } else { [] } }

    fileprivate var texts: [String] { self.list.map(\.text) }

    fileprivate var text: String { if case .string(let text) = self { text } else { "" } }

    fileprivate var integer: Int64 { if case .int(let value) = self { value } else { -1 } }

    fileprivate var members: [String: String] {
        guard case .object(let members) = self else { return [:] }
        return members.mapValues(\.text)
    }
}
