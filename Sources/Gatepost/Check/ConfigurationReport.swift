import Certificates
import Configuration
import PolicyProtocol
import System

/// The files of a configuration folder, loaded together.
struct ConfigurationReport {
    let frontend: FrontendConfiguration
    let worker: WorkerConfiguration
    let plugins: PluginsFile
    /// `nil` where the frontend has no certificate.
    let certificates: TLSCertificates?

    /// Loads everything that can be checked without starting a plugin.
    ///
    /// - Parameter directory: The configuration folder.
    /// - Returns: The report, if every file could be loaded, and all mistakes.
    static func load(directory: String) -> (report: Self?, problems: [ConfigurationError]) {
        var problems: [ConfigurationError] = []
        func collect<Value>(_ body: () throws(ConfigurationErrors) -> Value) -> Value? {
            do throws(ConfigurationErrors) {
                return try body()
            } catch {
                problems += error.errors.filter { !problems.contains($0) }
                return nil
            }
        }
        let frontend = collect { () throws(ConfigurationErrors) in
            try FrontendConfiguration.load(directory: directory)
        }
        let worker = collect { () throws(ConfigurationErrors) in
            try WorkerConfiguration.load(directory: directory)
        }
        let directories =
            worker?.controlDirectories ?? frontend?.controlDirectories ?? [directory]
        let plugins = collect { () throws(ConfigurationErrors) in
            try PluginsFile.load(directories: directories)
        }
        let files = ControlFiles(directories: directories) { _ in }
        problems += FrontendControls.problems(in: files).filter { !problems.contains($0) }
        let certificates = frontend.flatMap { frontend in
            frontend.tls.certificates.isEmpty
                ? nil
                : collect { () throws(ConfigurationErrors) in
                    try TLSCertificates(frontend, now: UnixTime.seconds)
                }
        }
        guard let frontend, let worker, let plugins else { return (nil, problems) }
        let report = Self(
            frontend: frontend,
            worker: worker,
            plugins: plugins,
            certificates: certificates
        )
        return (report, problems)
    }

    /// Settings that are allowed but look like mistakes.
    var warnings: [String] {
        var warnings: [String] = []
        if !self.frontend.pools.contains(where: { $0.name == self.worker.pool }) {
            warnings.append(
                "worker.toml serves the pool \"\(self.worker.pool)\", which frontend.toml does not have"
            )
        }
        for pool in self.frontend.pools {
            let hooks = pool.hooks.filter { $0.value.onFailure == .skip }.keys.map(\.rawValue)
                .sorted()
            if pool.policy.onFailure == .skip {
                warnings.append(
                    "pool \(pool.name): on_failure = \"skip\": its failures count as consent"
                )
            } else if !hooks.isEmpty {
                let list = hooks.joined(separator: ", ")
                warnings.append("pool \(pool.name): failures at \(list) count as consent (skip)")
            }
        }
        return warnings + self.lmtpWarnings + self.certificateWarnings + self.greetingWarnings
    }

    /// Warns of LMTP that other machines can reach: its clients are trusted.
    private var lmtpWarnings: [String] {
        self.frontend.listeners.compactMap { listener in
            let isOpen =
                listener.mailProtocol == .lmtp && listener.address.path == nil
                && !listener.address.host.isLoopback && !listener.requireAuth
            guard isOpen else { return nil }
            return "listener \(listener.name): LMTP on \(listener.address) takes mail from every "
                + "client that can reach it; listen on 127.0.0.1 or a Unix socket, or set "
                + "require_auth, or keep others out with a firewall"
        }
    }

    /// Warns of certificates that are not valid, and of one that is missing for the frontend's name.
    private var certificateWarnings: [String] {
        guard let certificates = self.certificates else { return [] }
        guard !certificates.has(name: self.frontend.hostname) else { return certificates.warnings }
        let missing =
            "frontend.toml: tls.certificate: no certificate has the name "
            + "\(self.frontend.hostname), which stands in the greeting; clients that verify will not "
            + "send mail"
        return certificates.warnings + [missing]
    }

    /// Warns of `wait` in a plugin's line, which has no effect: the frontend delays the greeting,
    /// by `greeting_delay_ms`.
    private var greetingWarnings: [String] {
        let delays = Set(self.frontend.listeners.map(\.greetingDelayMS))
        return self.plugins.lines.compactMap { line in
            guard ["earlytalker", "check_earlytalker"].contains(line.name) else { return nil }
            let place = "\(line.file):\(line.line): \(line.label)"
            if delays == [0] {
                return "\(place): no listener has greeting_delay_ms, so nobody can talk too early"
            }
            guard let index = line.arguments.firstIndex(of: "wait"),
                index + 1 < line.arguments.count,
                let seconds = Double(line.arguments[index + 1]), seconds.isFinite,
                delays != [Int64(seconds.clampedToDay * 1_000)]
            else { return nil }
            return "\(place): wait \(line.arguments[index + 1]) differs from greeting_delay_ms, "
                + "which counts"
        }
    }
}

extension Double {
    fileprivate var clampedToDay: Double { min(max(self, 0), 86_400) }
}
