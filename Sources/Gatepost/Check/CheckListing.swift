import Configuration
import PolicyProtocol

/// What `gatepost check` prints about a configuration that can run.
struct CheckListing {
    let report: ConfigurationReport
    /// One line a hook: its name, then the plugins in their order.
    let served: [[String]]

    var lines: [String] {
        let frontend = self.report.frontend
        var lines = ["\(frontend.id) (\(frontend.hostname))"]
        for listener in frontend.listeners {
            let delay = listener.greetingDelayMS
            let wait = delay > 0 ? ", banner after \(delay) ms" : ""
            let tls =
                switch listener.tls {
                case .none: ""
                case .starttls: listener.requireTLS ? ", STARTTLS required" : ", STARTTLS"
                case .implicit: ", TLS"
                }
            let client =
                switch listener.clientCertificates.demand {
                case .none: ""
                case .request: ", client certificates requested"
                case .require: ", client certificates required"
                }
            let proxy = listener.proxyProtocol ? ", PROXY protocol" : ""
            let spoken = listener.mailProtocol == .lmtp ? ", LMTP" : ""
            let how = "\(spoken)\(proxy)\(tls)\(client)\(wait)"
            lines.append("listener \(listener.name): \(listener.address)\(how)")
        }
        for pool in frontend.pools {
            let socket = "\(frontend.runtimeDirectory)/pools/\(pool.name)/\(frontend.id).sock"
            var text = "pool \(pool.name): \(socket), "
            text +=
                "opens with \(pool.minimumWorkers) worker\(pool.minimumWorkers == 1 ? "" : "s"), "
            text += "on failure \(pool.policy.onFailure.rawValue)"
            if let target = pool.shadowOf { text += ", shadow of \(target)" }
            if let target = pool.canaryOf { text += ", \(pool.canaryPercent) % of \(target)" }
            lines.append(text)
        }
        lines.append("asked, in this order:")
        return lines + self.order.map { "  \($0)" }
    }

    /// One line for each hook, in the order of a session.
    private var order: [String] {
        let deciding = self.report.frontend.pools.filter(\.isDeciding)
        return Self.hooks.compactMap { hook in
            let plugins = self.served.first { $0.first == hook.rawValue }?.dropFirst() ?? []
            let parts = deciding.compactMap { pool -> String? in
                if pool.name != self.report.worker.pool {
                    return "\(pool.name): as its workers say"
                }
                return plugins.isEmpty
                    ? nil : "\(pool.name): \(plugins.joined(separator: ", "))"
            }
            let whole = parts.isEmpty ? Self.unserved(hook) : parts.joined(separator: "; ")
            guard let whole else { return nil }
            let padding = String(repeating: " ", count: max(1, 21 - hook.rawValue.count))
            return "\(hook.rawValue)\(padding)\(whole)"
        }
    }

    /// What the client gets if no plugin serves the hook; `nil` if that needs no line.
    private static func unserved(_ hook: Hook) -> String? {
        switch hook {
        case .rcpt: "nobody: every recipient gets 450"
        case .queue: "nobody: every message gets 451"
        default: nil
        }
    }

    private static let hooks = Hook.allCases.filter { $0 != .status }
}
