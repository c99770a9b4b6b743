import JSON

/// Prints a status: a line about the frontend, and one for each pool and each worker.
struct WorkersTable {
    private(set) var lines: [String] = []

    private static let titles = [
        "pool", "worker", "version", "state", "busy", "served", "failed", "late", "p50", "p99",
        "plugins",
    ]

    /// - Parameter status: The `args` of the notification (protocol/events.md).
    init(_ status: JSONValue) {
        var rows = [Self.titles]
        var pools: [String] = []
        for pool in Self.list(status["pools"]) {
            let name = Self.text(pool["name"])
            pools.append(
                "\(name)\(Self.role(pool)) \(Self.text(pool["state"])), \(Self.text(pool["queued"])) waiting,"
                    + " \(Self.text(pool["served"])) served, \(Self.text(pool["failed"])) failed"
                    + Self.unserved(pool)
            )
            for worker in Self.list(pool["workers"]) {
                rows.append(Self.row(worker, pool: name))
            }
        }
        let sessions = status["sessions"]
        self.lines = [
            "\(Self.text(status["frontend"])): \(Self.text(sessions?["open"])) sessions;"
                + " \(pools.joined(separator: "; "))"
        ]
        self.lines += Self.counts(status)
        self.lines += TextTable.lines(rows)
    }

    /// A line about what limits refused and ended, and about handshakes and logins that failed; none before
    /// the first of them.
    private static func counts(_ status: JSONValue) -> [String] {
        let failed: [(String, JSONValue?)] = [
            ("TLS handshakes", status["handshakes"]?["failed"]),
            ("logins", status["logins"]?["failed"]),
        ]
        let parts =
            [
                self.counts(status["refused"]).map { "refused by \($0)" },
                self.counts(status["ended"]).map { "ended by \($0)" },
            ].compactMap(\.self)
            + failed.filter { self.isCounted($0.1) }.map { "failed \($0): \(self.text($1))" }
        return parts.isEmpty ? [] : ["since the start: \(parts.joined(separator: "; "))"]
    }

    /// `max_errors 3, timeout 40`: the counts that are not 0, the highest first; `nil` if all are 0.
    private static func counts(_ value: JSONValue?) -> String? {
        guard case .object(let members)? = value else { return nil }
        let counts = members.compactMap { key, value -> (key: String, count: Int64)? in
            guard case .int(let count) = value, count > 0 else { return nil }
            return (key, count)
        }
        let sorted = counts.sorted { ($1.count, $0.key) < ($0.count, $1.key) }
        return sorted.isEmpty ? nil : sorted.map { "\($0) \($1)" }.joined(separator: ", ")
    }

    private static func isCounted(_ value: JSONValue?) -> Bool {
        guard case .int(let count)? = value else { return false }
        return count > 0
    }

    /// The hooks at which the pool is asked and that none of its workers serves.
    private static func unserved(_ pool: JSONValue) -> String {
        let hooks = Self.list(pool["unserved"]).map(Self.text)
        return hooks.isEmpty ? "" : ", no worker for \(hooks.joined(separator: " "))"
    }

    /// For a shadow or a canary: that it is one, and its counts.
    private static func role(_ pool: JSONValue) -> String {
        if let shadow = pool["shadow"] {
            return " (shadow of \(self.text(shadow["of"])): \(self.text(shadow["agreed"])) agreed,"
                + " \(self.text(shadow["differed"])) differed,"
                + " \(self.text(shadow["failed"])) failed,"
                + " \(self.text(shadow["unpaired"])) unpaired,"
                + " \(self.text(shadow["dropped"])) dropped)"
        }
        if let canary = pool["canary"] {
            return " (\(self.text(canary["percent"])) % of \(self.text(canary["of"])):"
                + " \(self.text(canary["sessions"])) sessions)"
        }
        return ""
    }

    private static func row(_ worker: JSONValue, pool: String) -> [String] {
        var name = self.text(worker["name"])
        let instance = self.text(worker["instance"])
        if instance != "-" { name += "/\(instance)" }
        return [
            pool, "\(name)#\(self.text(worker["connection"]).dropFirst())",
            self.text(worker["version"]), self.text(worker["state"]),
            "\(self.text(worker["outstanding"]))/\(self.text(worker["concurrency"]))",
            self.text(worker["served"]), self.text(worker["failed"]), self.text(worker["late"]),
            self.time(worker["p50_us"]), self.time(worker["p99_us"]),
            self.list(worker["plugins"]).map(self.text).joined(separator: " "),
        ]
    }

    /// A time as text, from microseconds.
    private static func time(_ value: JSONValue?) -> String {
        guard case .int(let microseconds)? = value else { return "-" }
        return microseconds < 10_000 ? "\(microseconds) us" : "\(microseconds / 1_000) ms"
    }

    private static func list(_ value: JSONValue?) -> [JSONValue] {
        guard case .array(let values)? = value else { return [] }
        return values
    }

    /// A string, made safe for a terminal, or a number; `-` for anything else.
    private static func text(_ value: JSONValue?) -> String {
        switch value {
        case .string(let text)?: PrintableText.text(text)
        case .int(let number)?: "\(number)"
        case .bool, .double, .array, .object, .null, nil: "-"
        }
    }
}
