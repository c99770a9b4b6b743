import JSON
import PolicyProtocol
import SMTPCore

/// What every pool of a session answered: the record that `needs: ["trace"]` asks for.
///
/// Kept as text, and only while a worker wants it. Bounded: what comes when it is full is left out.
struct PolicyTrace {
    static let maximumOctets = 262_144

    private var entries = JSONWriter()
    private var isEmpty = true
    /// Where the last entry's reply stands, and whether it is settled.
    private var beforeReply = 0
    private var lastHasReply = false

    /// The list as JSON.
    var text: [UInt8] {
        self.isEmpty ? Array("[]".utf8) : Array("[".utf8) + self.entries.octets + Array("]".utf8)
    }

    /// One pool's answer to one question, or what kept it from giving one.
    struct Entry {
        let key: String
        let hook: Hook
        let pool: String
        var worker: String?
        var plugin: String?
        var verdict: Verdict?
        var microseconds: Int64 = 0
        var failure: String?
        var policy: String?

        init(key: String, hook: Hook, pool: String) {
            self.key = key
            self.hook = hook
            self.pool = pool
        }
    }

    mutating func record(_ entry: Entry) {
        guard self.entries.octets.count < Self.maximumOctets else {
            self.lastHasReply = true
            return
        }
        self.isEmpty = false
        self.lastHasReply = false
        self.entries.beginObject()
        self.write("key", entry.key)
        self.write("hook", entry.hook.rawValue)
        self.write("pool", entry.pool)
        self.write("worker", entry.worker)
        self.write("plugin", entry.plugin)
        self.write("verdict", entry.verdict?.rawValue)
        self.entries.key("us")
        self.entries.int(entry.microseconds)
        self.write("failure", entry.failure)
        self.write("policy", entry.policy)
        self.entries.key("reply")
        self.beforeReply = self.entries.octets.count
        self.entries.null()
        self.entries.endObject()
    }

    /// The last entry decided, and this is what the client got.
    mutating func decided(_ reply: SMTPReply) {
        guard !self.isEmpty, !self.lastHasReply else { return }
        self.lastHasReply = true
        self.entries.truncate(to: self.beforeReply)
        EventArguments.encode(reply, into: &self.entries)
        self.entries.endObject()
    }

    private mutating func write(_ key: StaticString, _ value: String?) {
        self.entries.key(key)
        if let value { self.entries.string(value) } else { self.entries.null() }
    }
}
