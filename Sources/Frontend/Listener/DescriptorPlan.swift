import Configuration
import Glibc

/// How many sessions the limit of open descriptors (RLIMIT_NOFILE) allows.
///
/// Descriptors for workers, the spool, control files and the log are reserved; sessions share the
/// others.
struct DescriptorPlan {
    /// How many descriptors the process may have open.
    let limit: Int
    /// Descriptors that sessions leave free; never more than half of the limit.
    let reserve: Int

    /// A session's socket, and the file of its message.
    static let perSession = 2
    /// The channel's descriptor of the socket, and our own (see ``ListeningSocket``).
    static let perListeningSocket = 2
    /// For the log, the event loop, files that are open for a moment, and clients that get 421.
    static let own = 64

    /// - Parameters:
    ///   - limit: How many descriptors the process may have open.
    ///   - listeners: How many listeners there are.
    ///   - pools: `max_connections` of each pool.
    ///   - loops: How many event loops there are: a pool has a socket for each, and a worker is connected
    ///     to all of them.
    init(limit: Int, listeners: Int, pools: [Int], loops: Int = 1) {
        let sockets = Self.perListeningSocket * (listeners + pools.count * loops)
        let wanted = pools.reduce(Self.own + sockets) { sum, connections in
            let (ofLoops, isTooMuch) = connections.multipliedReportingOverflow(by: loops)
            let (total, isOver) = sum.addingReportingOverflow(ofLoops)
            return isOver || isTooMuch ? .max : total
        }
        self.limit = limit
        self.reserve = min(wanted, limit / 2)
    }

    /// The plan for a configuration and for what this process may open now.
    init(_ configuration: FrontendConfiguration) {
        var limit = rlimit()
        let isKnown = getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0
        self.init(
            limit: isKnown ? Int(clamping: limit.rlim_cur) : .max,
            listeners: configuration.listeners.count,
            pools: configuration.pools.map(\.maximumConnections),
            loops: configuration.eventLoops
        )
    }

    /// The smaller of `max_sessions` (`configured`; 0 is no limit) and what the descriptors allow.
    func maximumSessions(_ configured: Int) -> Int {
        let possible = max(1, (self.limit - self.reserve) / Self.perSession)
        return configured == 0 ? possible : min(configured, possible)
    }
}
