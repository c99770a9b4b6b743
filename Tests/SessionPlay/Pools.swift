package import PolicyCore
package import PolicyProtocol
package import SMTPCore

/// The pools of a played session: what their workers registered, and their failure policies.
package final class PlayedPools {
    package let profiles: [PoolProfile]
    package let demand = PolicyDemand()

    /// Pools with these names, whose workers register nothing yet.
    package init(_ names: [String] = ["default"]) {
        self.profiles = names.map { PoolProfile(name: $0) }
        for profile in self.profiles { profile.receivesSecrets = true }
    }

    /// All hooks that can be asked.
    package static let askedHooks = Hook.allCases.filter { !$0.isNotification }

    /// A worker of the pool registers hooks, instead of what was registered before.
    ///
    /// `observed` are hooks that it is only told of.
    package func register(
        _ pool: Int = 0,
        asked: [Hook] = PlayedPools.askedHooks,
        observed: [Hook] = [],
        needs: [Hook: Needs] = [:],
        goesAhead: Bool = false,
        extensions: QueueExtensions = [],
        maximumFrameOctets: Int = 1_048_576
    ) {
        var hello = WorkerHello(
            pool: self.profiles[pool].name,
            name: "w",
            instance: "1",
            version: "1",
            pid: 1,
            concurrency: 1,
            maximumFrameOctets: maximumFrameOctets
        )
        hello.goesAhead = goesAhead
        hello.extensions = extensions
        for hook in asked {
            hello.hooks[hook] = WorkerHello.HookRequest(needs: needs[hook] ?? [])
        }
        for hook in observed {
            hello.hooks[hook] = WorkerHello.HookRequest(
                needs: needs[hook] ?? [],
                isObserver: !hook.isNotification
            )
        }
        let mask = asked.reduce(into: HookSet()) { $0.insert(HookSet($1)) }
        self.profiles[pool].update(PoolWants([hello], asked: mask), hasReadyWorker: true)
        self.demand.update(self.profiles)
    }

    /// A session whose questions go to these pools, or to those at `route`.
    package func session(
        _ smtp: SMTPConfiguration,
        route: [Int]? = nil,
        maximumDelayMS: Int64 = 10_000,
        failedLoginDelayMS: Int64 = 0
    ) -> PlayedSession {
        let facts = SessionFacts(
            id: "S",
            listener: "mx",
            startedMS: 0,
            client: Peer(ip: "192.0.2.1", port: 1),
            server: Peer(ip: "192.0.2.2", port: 25)
        )
        return PlayedSession(
            PolicySession(
                facts: facts,
                route: route.map { $0.map { self.profiles[$0] } } ?? self.profiles,
                demand: self.demand,
                smtp: smtp,
                maximumDelayMS: maximumDelayMS,
                failedLoginDelayMS: failedLoginDelayMS
            ),
            smtp: smtp
        )
    }
}

extension SMTPConfiguration {
    /// A listener that offers every mechanism of AUTH in clear text.
    package static let offeringAuth = SMTPConfiguration(
        hostname: Array("mx".utf8),
        mechanisms: SMTPMechanism.allCases,
        offersAuthInClear: true
    )
}

@available(*, unavailable)
extension PlayedPools: Sendable {}
