import Configuration
import Glibc

/// How many sessions the limit of open descriptors (RLIMIT_NOFILE) allows.
///
/// Workers, the spool, control files and the log come first: what they need is set aside, and
/// sessions share the rest.
struct DescriptorPlan {
    /// Most descriptors that the process may have open.
    let limit: Int
    /// Descriptors that sessions leave free; never more than half of the limit.
    let reserve: Int

    /// A session's socket, and the file of its message.
    static let perSession = 2
    /// A socket that listens, and the descriptor of it that is kept to listen again.
    static let perListeningSocket = 2
    /// The log, the event loop, files that are open for a moment, and clients that hear 421.
    static let own = 64

    /// - Parameters:
    ///   - limit: Descriptors.
    ///   - listeners: How many sockets clients connect to.
    ///   - pools: Most connections of each pool.
    init(limit: Int, listeners: Int, pools: [Int]) {
        let sockets = Self.perListeningSocket * (listeners + pools.count)
        let wanted = pools.reduce(Self.own + sockets) { sum, connections in
            let (total, isOver) = sum.addingReportingOverflow(connections)
            return isOver ? .max : total
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
            pools: configuration.pools.map(\.maximumConnections)
        )
    }

    /// `max_sessions` as far as there are descriptors; `configured` is 0 for no limit of its own.
    func maximumSessions(_ configured: Int) -> Int {
        let possible = max(1, (self.limit - self.reserve) / Self.perSession)
        return configured == 0 ? possible : min(configured, possible)
    }
}
