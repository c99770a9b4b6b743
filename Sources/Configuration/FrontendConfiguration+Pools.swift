import Glibc
package import PolicyProtocol

extension FrontendConfiguration {
    /// `[[pool]]`; one named policy if the file has none.
    static func pools(_ reader: TOMLReader) -> [Pool] {
        guard reader.has("pool") else {
            var pool = Pool(name: "policy", defaultsFor: .tempfail)
            pool.secrets = true
            return [pool]
        }
        var pools = reader.tables("pool").map { table in
            let pool = Self.pool(table)
            table.finish()
            return pool
        }
        Self.checkRelations(pools, reader)
        Self.settleSecrets(&pools, reader)
        return pools
    }

    private static func pool(_ reader: TOMLReader) -> Pool {
        let name = reader.poolName("name", default: "policy")
        if !reader.has("name") {
            reader.report("name", "is missing", remedy: "workers of this pool say it in hello")
        }
        var pool = Pool(
            name: name,
            defaultsFor: reader.choice("on_failure", default: FailurePolicy.tempfail)
        )
        pool.minimumWorkers = reader.integer("minimum_workers", default: 1, in: 0...10_000)
        pool.zombieMS = reader.milliseconds("zombie_ms", default: pool.zombieMS)
        pool.pingMS = reader.integer(
            "ping_ms",
            default: pool.pingMS,
            in: 100...3_600_000,
            unit: "milliseconds"
        )
        pool.graceMS = reader.milliseconds("grace_ms", default: pool.graceMS)
        pool.alwaysAsked = Self.alwaysAsked(reader)
        pool.hooksRememberedMS = reader.milliseconds(
            "hooks_remembered_ms",
            default: pool.hooksRememberedMS
        )
        pool.queueLimit = reader.integer(
            "queue_limit",
            default: pool.queueLimit,
            in: 0...1_000_000,
            unit: "events"
        )
        pool.maximumConnections = reader.integer(
            "max_connections",
            default: pool.maximumConnections,
            in: 1...10_000
        )
        pool.maximumConcurrency = reader.integer(
            "max_concurrency",
            default: pool.maximumConcurrency,
            in: 1...100_000,
            unit: "events"
        )
        pool.maximumFrameOctets = reader.integer(
            "max_frame_octets",
            default: pool.maximumFrameOctets,
            in: 65_536...(1 << 26),
            unit: "octets"
        )
        pool.failureHeader = reader.bool("failure_header", default: false)
        pool.secrets = reader.has("secrets") ? reader.bool("secrets", default: false) : nil
        Self.readPolicies(reader, into: &pool)
        Self.readAccess(reader, into: &pool)
        Self.readRelation(reader, into: &pool)
        return pool
    }

    /// The keys of a shadow and of a canary.
    private static func readRelation(_ reader: TOMLReader, into pool: inout Pool) {
        pool.shadowOf = reader.string("shadow_of")
        pool.isShadowQueueing = reader.bool("shadow_queue", default: false)
        pool.shadowOctets = reader.integer(
            "shadow_octets",
            default: pool.shadowOctets,
            in: 0...(1 << 40),
            unit: "octets"
        )
        pool.shadowSpoolOctets = reader.integer(
            "shadow_spool_octets",
            default: pool.shadowSpoolOctets,
            in: 0...(1 << 50),
            unit: "octets"
        )
        pool.canaryOf = reader.string("canary_of")
        pool.canaryPercent = reader.integer(
            "canary_percent",
            default: 0,
            in: 1...100,
            unit: "percent of the sessions"
        )
    }

    /// `always_asked`; `nil` if the file does not have it.
    private static func alwaysAsked(_ reader: TOMLReader) -> [Hook]? {
        guard let words = reader.strings("always_asked") else { return nil }
        if words.isEmpty {
            reader.report(
                "always_asked",
                "names no hook, and a pool without workers would be passed over",
                remedy: "name at least one, as \"connect\", or remove the line"
            )
        }
        return words.compactMap { word in
            guard let hook = Hook(rawValue: word), Self.decisionHooks.contains(hook) else {
                reader.report(
                    "always_asked",
                    Hook(rawValue: word) == nil
                        ? "\"\(word)\" is not a hook" : "\"\(word)\" is a hook that only tells",
                    remedy: NearestWord.suggestion(
                        for: word,
                        among: Self.decisionHooks.map(\.rawValue)
                    )
                )
                return nil
            }
            return hook
        }
    }

    /// `deadline_ms` and `max_deadline_ms` of the pool, then those of its hooks.
    private static func readPolicies(_ reader: TOMLReader, into pool: inout Pool) {
        pool.policy = Self.policy(reader, defaults: pool.policy)
        for (hook, defaults) in pool.hooks {
            pool.hooks[hook] = Self.policy(reader, defaults: defaults)
        }
        let hooks = reader.subtable("hooks")
        for key in hooks.keys {
            let table = hooks.subtable(key)
            guard let hook = Hook(rawValue: key), Self.decisionHooks.contains(hook) else {
                let words = Self.decisionHooks.map(\.rawValue)
                hooks.report(
                    key,
                    Hook(rawValue: key) == nil ? "is not a hook" : "is a hook that only tells",
                    remedy: NearestWord.suggestion(for: key, among: words)
                )
                continue
            }
            var policy = Self.policy(table, defaults: pool.policy(for: hook))
            policy.onFailure = table.choice("on_failure", default: policy.onFailure)
            pool.hooks[hook] = policy
            table.finish()
        }
    }

    private static func policy(_ reader: TOMLReader, defaults: HookPolicy) -> HookPolicy {
        var policy = defaults
        policy.deadlineMS = reader.integer(
            "deadline_ms",
            default: policy.deadlineMS,
            in: 1...600_000,
            unit: "milliseconds"
        )
        policy.maximumDeadlineMS = reader.integer(
            "max_deadline_ms",
            default: max(policy.maximumDeadlineMS, policy.deadlineMS),
            in: 1...600_000,
            unit: "milliseconds"
        )
        if policy.maximumDeadlineMS < policy.deadlineMS {
            reader.report(
                "max_deadline_ms",
                "\(policy.maximumDeadlineMS) is less than deadline_ms, \(policy.deadlineMS)",
                remedy: "raise it, or lower deadline_ms"
            )
        }
        return policy
    }

    /// The hooks at which pools are asked; notifications cannot fail.
    static let decisionHooks = Hook.allCases.filter { !$0.isNotification }

    private static func readAccess(_ reader: TOMLReader, into pool: inout Pool) {
        for user in reader.strings("allowed_users") ?? [] {
            if let id = UInt32(user) ?? Self.userID(user) {
                pool.allowedUserIDs.insert(id)
            } else {
                reader.report(
                    "allowed_users",
                    "there is no user \"\(user)\"",
                    remedy: "make the user, or write its number"
                )
            }
        }
        if let group = reader.string("group") {
            pool.groupID = UInt32(group) ?? Self.groupID(group)
            if pool.groupID == nil {
                reader.report(
                    "group",
                    "there is no group \"\(group)\"",
                    remedy: "make the group, or write its number"
                )
            }
        }
        pool.socketMode = Self.socketMode(reader) ?? pool.socketMode
    }

    private static func userID(_ name: String) -> UInt32? {
        getpwnam(name).map { UInt32($0.pointee.pw_uid) }
    }

    private static func groupID(_ name: String) -> UInt32? {
        getgrnam(name).map { UInt32($0.pointee.gr_gid) }
    }

    private static func checkRelations(_ pools: [Pool], _ reader: TOMLReader) {
        for (index, pool) in pools.enumerated() {
            let place = "pool[\(index)]"
            if pools[..<index].contains(where: { $0.name == pool.name }) {
                reader.report(
                    "\(place).name",
                    "\"\(pool.name)\" names two pools",
                    remedy: "give each a name of its own"
                )
            }
            if pool.shadowOf != nil, pool.canaryOf != nil {
                reader.report(
                    "\(place).canary_of",
                    "a pool cannot be a shadow and a canary",
                    remedy: "remove one of the two"
                )
            }
            if (pool.canaryOf != nil) != (pool.canaryPercent > 0) {
                reader.report(
                    "\(place).canary_percent",
                    "canary_of and canary_percent go together",
                    remedy: "write both, or neither"
                )
            }
            if pool.isShadowQueueing, pool.shadowOf == nil {
                reader.report(
                    "\(place).shadow_queue",
                    "this pool is no shadow",
                    remedy: "remove it, or write shadow_of"
                )
            }
            let share = pools.filter { $0.canaryOf == pool.name }.map(\.canaryPercent).reduce(0, +)
            if share > 100 {
                reader.report(
                    "\(place).name",
                    "canaries of \"\(pool.name)\" want \(share) % of its sessions",
                    remedy: "lower canary_percent of one of them"
                )
            }
            for (key, target) in [("shadow_of", pool.shadowOf), ("canary_of", pool.canaryOf)] {
                guard let target else { continue }
                let isDeciding = pools.contains { $0.name == target && $0.isDeciding }
                if !isDeciding || target == pool.name {
                    let words = pools.map(\.name).filter { $0 != pool.name }
                    reader.report(
                        "\(place).\(key)",
                        "\"\(target)\" is no pool that decides",
                        remedy: NearestWord.suggestion(for: target, among: words)
                    )
                }
            }
        }
    }
}

extension FrontendConfiguration.Pool {
    /// A pool with the defaults of protocol/README.md §8: `data_post` and `queue` may take longer.
    package init(name: String, defaultsFor onFailure: FailurePolicy) {
        self.init(name: name)
        self.policy.onFailure = onFailure
        for hook in [Hook.data_post, .queue] {
            self.hooks[hook] = FrontendConfiguration.HookPolicy(
                onFailure: onFailure,
                deadlineMS: 60_000,
                maximumDeadlineMS: 300_000
            )
        }
    }
}
