import Configuration
import JSON
import PolicyProtocol
import PoolCore

/// The notification `status` (protocol/events.md).
struct StatusNotice {
    let frontendID: String
    /// Unix milliseconds.
    let nowMS: Int64
    /// Milliseconds since the start.
    let uptimeMS: Int64
    let spool: SpoolDirectory.Usage
    /// All loops together.
    let loops: LoopStatus

    /// The whole line.
    var line: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("type")
        writer.string("notify")
        writer.key("hook")
        writer.string(Hook.status.rawValue)
        writer.key("args")
        self.encodeArguments(into: &writer)
        writer.endObject()
        writer.newline()
        return writer.octets
    }

    private func encodeArguments(into writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("frontend")
        writer.string(self.frontendID)
        writer.key("now_ms")
        writer.int(self.nowMS)
        writer.key("uptime_ms")
        writer.int(self.uptimeMS)
        writer.key("sessions")
        writer.beginObject()
        writer.key("open")
        writer.int(Int64(self.loops.openSessions))
        writer.key("opened")
        writer.int(Int64(clamping: self.loops.openedSessions))
        writer.endObject()
        writer.key("spool")
        writer.beginObject()
        writer.key("files")
        writer.int(self.spool.files)
        writer.key("octets")
        writer.int(self.spool.octets)
        writer.endObject()
        for (member, counts) in self.loops.counters.named {
            writer.key(member)
            writer.beginObject()
            for (key, count) in counts {
                writer.key(key)
                writer.int(Int64(clamping: count))
            }
            writer.endObject()
        }
        writer.key("pools")
        writer.beginArray()
        for pool in self.loops.pools { pool.encode(into: &writer) }
        writer.endArray()
        writer.endObject()
    }
}

extension PoolStatus {
    /// Writes this pool's entry.
    fileprivate func encode(into writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("name")
        writer.string(self.name)
        writer.key("state")
        writer.string(self.snapshot.state.rawValue)
        writer.key("queued")
        writer.int(Int64(self.snapshot.queued))
        writer.key("outstanding")
        writer.int(Int64(self.snapshot.outstanding))
        writer.key("served")
        writer.int(Int64(clamping: self.snapshot.served))
        writer.key("failed")
        writer.int(Int64(clamping: self.snapshot.failed))
        self.encodeRole(into: &writer)
        writer.key("unserved")
        writer.beginArray()
        for hook in Hook.allCases where self.unserved.contains(HookNumbers(hook: hook.index)) {
            writer.string(hook.rawValue)
        }
        writer.endArray()
        writer.key("workers")
        writer.beginArray()
        for worker in self.workers { worker.encode(into: &writer) }
        writer.endArray()
        writer.endObject()
    }

    /// How a shadow's answers compared, or how many sessions a canary took.
    private func encodeRole(into writer: inout JSONWriter) {
        switch self.role {
        case .deciding: break
        case .shadow(let original):
            writer.key("shadow")
            writer.beginObject()
            writer.key("of")
            writer.string(original)
            for (key, count) in self.shadowCounts.named {
                writer.key(key)
                writer.int(Int64(clamping: count))
            }
            writer.endObject()
        case .canary(let original, let percent):
            writer.key("canary")
            writer.beginObject()
            writer.key("of")
            writer.string(original)
            writer.key("percent")
            writer.int(Int64(percent))
            writer.key("sessions")
            writer.int(Int64(clamping: self.canarySessions))
            writer.endObject()
        }
    }
}

extension WorkerStatus {
    /// Writes this worker's entry.
    fileprivate func encode(into writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("connection")
        writer.string("w\(self.counts.id)")
        writer.key("name")
        writer.string(self.hello.name)
        let texts: [(StaticString, String)] = [
            ("instance", self.hello.instance), ("version", self.hello.version),
        ]
        for (key, text) in texts {
            writer.key(key)
            if text.isEmpty { writer.null() } else { writer.string(text) }
        }
        writer.key("pid")
        // The pid is 0 if the process is in another PID namespace.
        if self.processID > 0 { writer.int(Int64(self.processID)) } else { writer.null() }
        writer.key("plugins")
        writer.beginArray()
        for plugin in self.hello.plugins { writer.string(plugin) }
        writer.endArray()
        writer.key("state")
        writer.string(self.counts.state.rawValue)
        writer.key("concurrency")
        writer.int(Int64(self.counts.concurrency))
        writer.key("outstanding")
        writer.int(Int64(self.counts.outstanding))
        let counts: [(StaticString, UInt64)] = [
            ("served", self.counts.served), ("failed", self.counts.failed),
            ("late", self.counts.late), ("dropped", self.droppedNotifications),
        ]
        for (key, count) in counts {
            writer.key(key)
            writer.int(Int64(clamping: count))
        }
        let quantiles: [(StaticString, UInt64)] = [("p50_us", 50), ("p99_us", 99)]
        for (key, percent) in quantiles {
            writer.key(key)
            if let microseconds = self.counts.latency.microseconds(percent: percent) {
                writer.int(Int64(clamping: microseconds))
            } else {
                writer.null()
            }
        }
        writer.endObject()
    }
}
