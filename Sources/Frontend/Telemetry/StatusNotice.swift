import Configuration
import JSON
import PolicyProtocol
import PoolCore

/// The arguments of the notification `status` (protocol/events.md).
struct StatusNotice {
    let frontendID: String
    /// Unix milliseconds.
    let nowMS: Int64
    /// Milliseconds since the start.
    let uptimeMS: Int64
    let openSessions: Int
    let openedSessions: UInt64
    let spool: SpoolDirectory.Usage
    let counters: LimitCounters

    /// Writes the whole line.
    func encode(pools: [WorkerPool], into writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("type")
        writer.string("notify")
        writer.key("hook")
        writer.string(Hook.status.rawValue)
        writer.key("args")
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
        writer.int(Int64(self.openSessions))
        writer.key("opened")
        writer.int(Int64(clamping: self.openedSessions))
        writer.endObject()
        writer.key("spool")
        writer.beginObject()
        writer.key("files")
        writer.int(self.spool.files)
        writer.key("octets")
        writer.int(self.spool.octets)
        writer.endObject()
        for (member, counts) in self.counters.named {
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
        for pool in pools { pool.encodeStatus(into: &writer) }
        writer.endArray()
        writer.endObject()
        writer.endObject()
        writer.newline()
    }
}

extension WorkerPool {
    /// Writes this pool's entry.
    fileprivate func encodeStatus(into writer: inout JSONWriter) {
        let snapshot = self.machine.snapshot(now: self.server.nowNS)
        writer.beginObject()
        writer.key("name")
        writer.string(self.name)
        writer.key("state")
        writer.string(snapshot.state.rawValue)
        writer.key("queued")
        writer.int(Int64(snapshot.queued))
        writer.key("outstanding")
        writer.int(Int64(snapshot.outstanding))
        writer.key("served")
        writer.int(Int64(clamping: snapshot.served))
        writer.key("failed")
        writer.int(Int64(clamping: snapshot.failed))
        self.encodeRole(into: &writer)
        let unserved = self.machine.hooksWithoutWorker
        writer.key("unserved")
        writer.beginArray()
        for hook in Hook.allCases where unserved.contains(HookNumbers(hook: hook.index)) {
            writer.string(hook.rawValue)
        }
        writer.endArray()
        writer.key("workers")
        writer.beginArray()
        for worker in snapshot.workers {
            guard let connection = self.connections[worker.id], let hello = connection.hello else {
                continue
            }
            Self.encode(worker, hello, connection, into: &writer)
        }
        writer.endArray()
        writer.endObject()
    }

    /// How a shadow's answers compared, or how many sessions a canary took.
    private func encodeRole(into writer: inout JSONWriter) {
        if let original = self.configuration.shadowOf {
            writer.key("shadow")
            writer.beginObject()
            writer.key("of")
            writer.string(original)
            for (key, count) in self.shadowCounts.named {
                writer.key(key)
                writer.int(Int64(clamping: count))
            }
            writer.endObject()
        }
        if let original = self.configuration.canaryOf {
            writer.key("canary")
            writer.beginObject()
            writer.key("of")
            writer.string(original)
            writer.key("percent")
            writer.int(Int64(self.configuration.canaryPercent))
            writer.key("sessions")
            writer.int(Int64(clamping: self.canarySessions))
            writer.endObject()
        }
    }

    private static func encode(
        _ worker: PoolSnapshot.Worker,
        _ hello: WorkerHello,
        _ connection: WorkerConnectionHandler,
        into writer: inout JSONWriter
    ) {
        writer.beginObject()
        writer.key("connection")
        writer.string("w\(worker.id)")
        writer.key("name")
        writer.string(hello.name)
        let texts: [(StaticString, String)] = [
            ("instance", hello.instance), ("version", hello.version),
        ]
        for (key, text) in texts {
            writer.key(key)
            if text.isEmpty { writer.null() } else { writer.string(text) }
        }
        writer.key("pid")
        // The pid is 0 if the process is in another PID namespace.
        let processID = Int64(connection.peer.processID)
        if processID > 0 { writer.int(processID) } else { writer.null() }
        writer.key("plugins")
        writer.beginArray()
        for plugin in hello.plugins { writer.string(plugin) }
        writer.endArray()
        writer.key("state")
        writer.string(worker.state.rawValue)
        writer.key("concurrency")
        writer.int(Int64(worker.concurrency))
        writer.key("outstanding")
        writer.int(Int64(worker.outstanding))
        let counts: [(StaticString, UInt64)] = [
            ("served", worker.served), ("failed", worker.failed), ("late", worker.late),
            ("dropped", connection.droppedNotifications),
        ]
        for (key, count) in counts {
            writer.key(key)
            writer.int(Int64(clamping: count))
        }
        let quantiles: [(StaticString, UInt64)] = [("p50_us", 50), ("p99_us", 99)]
        for (key, percent) in quantiles {
            writer.key(key)
            if let microseconds = worker.latency.microseconds(percent: percent) {
                writer.int(Int64(clamping: microseconds))
            } else {
                writer.null()
            }
        }
        writer.endObject()
    }
}
