extension FrontendConfiguration {
    /// The mechanisms of `auth`, as they stand on the wire.
    package enum AuthMechanism: String, Sendable, CaseIterable {
        case plain = "PLAIN"
        case login = "LOGIN"
        case cramMD5 = "CRAM-MD5"
        case scramSHA256 = "SCRAM-SHA-256"
        case scramSHA256Plus = "SCRAM-SHA-256-PLUS"
        case oauthBearer = "OAUTHBEARER"
        case xoauth2 = "XOAUTH2"
    }

    /// `[limits]`: what becomes of logins that fail.
    package struct FailedLogins: Sendable, Equatable {
        /// `max_auth_failures` of a session that are answered; 0 is no limit.
        package var maximum = 3
        /// `max_auth_failures_per_ip` from one address (an IPv6 /64) within ``rememberedMS``; 0 is no
        /// limit.
        package var maximumPerIP = 20
        /// `max_auth_failures_per_user` of one user within ``rememberedMS``, whatever the address; 0 is no
        /// limit.
        package var maximumPerUser = 0
        /// `auth_failure_delay_ms`: how long the reply to one is held back.
        package var delayMS: Int64 = 1_000
        /// `auth_failures_remembered_ms`.
        package var rememberedMS: Int64 = 600_000

        package init() {}

        init(reading reader: TOMLReader) {
            self.maximum = reader.count("max_auth_failures", default: self.maximum)
            self.maximumPerIP = reader.count("max_auth_failures_per_ip", default: self.maximumPerIP)
            self.maximumPerUser = reader.count(
                "max_auth_failures_per_user",
                default: self.maximumPerUser
            )
            self.delayMS = reader.integer(
                "auth_failure_delay_ms",
                default: self.delayMS,
                in: 0...60_000,
                unit: "milliseconds"
            )
            self.rememberedMS = reader.milliseconds(
                "auth_failures_remembered_ms",
                default: self.rememberedMS,
                from: 1_000
            )
        }
    }

    /// Reads the keys of a listener about AUTH.
    static func readAuth(_ reader: TOMLReader, of listener: inout Listener) {
        listener.auth = Self.mechanisms(reader)
        listener.authWithoutTLS = reader.bool("auth_without_tls", default: false)
        listener.requireAuth = reader.bool("require_auth", default: false)
        if listener.requireAuth, listener.auth.isEmpty {
            reader.report(
                "require_auth",
                "nobody can authenticate here",
                remedy: "write auth = [\"PLAIN\", \"LOGIN\"], or remove the line"
            )
        }
        if listener.auth.contains(.scramSHA256Plus), listener.tls == .none {
            reader.report(
                "auth",
                "SCRAM-SHA-256-PLUS is bound to the certificate of TLS, and this listener has none",
                remedy: "write tls = \"starttls\", or remove SCRAM-SHA-256-PLUS"
            )
        } else if !listener.auth.isEmpty, listener.tls == .none, !listener.authWithoutTLS {
            reader.report(
                "auth",
                "is offered under TLS only, and this listener has none",
                remedy: "write tls = \"starttls\", or auth_without_tls = true"
            )
        }
    }

    private static func mechanisms(_ reader: TOMLReader) -> [AuthMechanism] {
        let words = AuthMechanism.allCases.map(\.rawValue)
        var mechanisms: [AuthMechanism] = []
        for text in reader.strings("auth") ?? [] {
            guard let mechanism = AuthMechanism(rawValue: text) else {
                reader.report(
                    "auth",
                    "\"\(text)\" is not a mechanism of this version",
                    remedy: NearestWord.suggestion(for: text, among: words)
                )
                continue
            }
            if !mechanisms.contains(mechanism) { mechanisms.append(mechanism) }
        }
        return mechanisms
    }

    /// `secrets` of the pools that do not say it: the only pool that is asked may see passwords, and a
    /// canary what its pool may.
    static func settleSecrets(_ pools: inout [Pool], _ reader: TOMLReader) {
        let hasOne = pools.count(where: \.isDeciding) == 1
        for index in pools.indices {
            if pools[index].shadowOf != nil, pools[index].secrets == true {
                reader.report(
                    "pool[\(index)].secrets",
                    "a shadow is never shown a password",
                    remedy: "remove the line"
                )
            }
            guard pools[index].secrets == nil, pools[index].isDeciding else { continue }
            pools[index].secrets = hasOne
        }
        for index in pools.indices where pools[index].secrets == nil {
            let name = pools[index].canaryOf
            let original = pools.first { $0.isDeciding && $0.name == name }
            pools[index].secrets = original?.secrets ?? false
        }
    }

    /// Reports listeners with `auth` where no pool may see a password.
    func checkAuth(_ reader: TOMLReader) {
        guard !self.pools.contains(where: { $0.isDeciding && $0.secrets == true }) else { return }
        for (index, listener) in self.listeners.enumerated() where !listener.auth.isEmpty {
            reader.report(
                "listener[\(index)].auth",
                "no pool may see passwords",
                remedy: "write secrets = true in the [[pool]] whose workers check them"
            )
        }
    }
}
