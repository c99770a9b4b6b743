import Configuration
import PolicyProtocol

/// Finds hooks at which no mail gets through, and hooks at which a pool is never asked.
struct CheckServed {
    let report: ConfigurationReport
    /// One line a hook: its name, then the plugins in their order.
    let served: [[String]]

    /// Settings that are allowed but let no mail through, or leave a pool unasked.
    var warnings: [String] { self.missing + self.unreached + self.unaccepted }

    /// Hooks that need an answer and that no plugin serves.
    ///
    /// Only with a single pool: another pool's workers might serve them.
    private var missing: [String] {
        let pools = self.report.frontend.pools.filter(\.isDeciding)
        guard pools.allSatisfy({ $0.name == self.report.worker.pool }) else { return [] }
        let places = [
            (Hook.rcpt, "every recipient gets 450", "rcpt_ok"),
            (Hook.queue, "every message gets 451", "queue/maildir or queue/smtp-forward"),
        ]
        return places.compactMap { hook, effect, plugin in
            self.plugins(at: hook).isEmpty
                ? "config/plugins: no plugin decides at \(hook.rawValue), so \(effect); add \(plugin)"
                : nil
        }
    }

    /// Later pools that are never asked at a hook, because a plugin always decides there.
    private var unreached: [String] {
        let pools = self.report.frontend.pools.filter(\.isDeciding).map(\.name)
        guard let own = pools.firstIndex(of: self.report.worker.pool) else { return [] }
        let decided = [Hook.rcpt, .queue].compactMap { hook -> String? in
            let plugin = self.plugins(at: hook).first { Self.alwaysDecides($0) }
            return plugin.map { "at \(hook.rawValue), where \($0) decides" }
        }
        guard !decided.isEmpty else { return [] }
        return pools[(own + 1)...].map { pool in
            "frontend.toml: pool \(pool) stands after pool \(pools[own]), so it is never asked "
                + "\(decided.joined(separator: ", nor ")); put its [[pool]] first if it has a say there"
        }
    }

    /// The control files that `rcpt_ok` reads besides `me`.
    private static let domainFiles = ["rcpthosts", "morercpthosts", "morercpthosts.cdb"]

    /// Warns if `rcpt_ok` is to accept recipients and its lists name no domain.
    private var unaccepted: [String] {
        let pools = self.report.frontend.pools.filter(\.isDeciding)
        let directories = self.report.worker.controlDirectories
        let files = ControlFiles(directories: directories) { _ in }.snapshot()
        guard pools.first?.name == self.report.worker.pool,
            self.plugins(at: .rcpt).contains(where: { Self.name($0) == "rcpt_ok" }),
            Self.domainFiles.allSatisfy({ files.lines($0)?.isEmpty ?? true })
        else { return [] }
        let problem = files.lines("rcpthosts") == nil ? "there is no such file" : "names no domain"
        let names = (files.lines("me") ?? []).map(\.text).joined(separator: ", ")
        let ours = names.isEmpty ? "" : " and those at \(names) (file me)"
        return [
            "\(directories[0])/rcpthosts: \(problem), so rcpt_ok refuses all recipients but "
                + "<Postmaster>\(ours), relay clients' aside; write your domains, one a line"
        ]
    }

    private func plugins(at hook: Hook) -> [String] {
        Array(self.served.first { $0.first == hook.rawValue }?.dropFirst() ?? [])
    }

    /// `rcpt_ok` of `rcpt_ok:1`.
    private static func name(_ label: String) -> Substring {
        label.prefix { $0 != ":" && $0 != "(" }
    }

    private static func alwaysDecides(_ plugin: String) -> Bool {
        guard !plugin.contains("(") else { return false }  // its line has conditions
        let name = self.name(plugin)
        // What is not for the quarantine is declined.
        return name == "rcpt_ok" || name.hasPrefix("queue/") && name != "queue/quarantine"
    }
}
