import Addresses
import Configuration
import SMTPCore

/// What a client's sessions are counted under.
struct CountedClient: Hashable {
    /// An IPv4 address, or the /64 of an IPv6 address.
    let address: IPAddress
    /// The /24 of an IPv4 address, or the /48 of an IPv6 address.
    let network: IPAddress

    /// Connections whose address is not known are counted together, as from 0.0.0.0.
    init(_ address: IPAddress?) {
        let address = address ?? IPAddress(ipv4: 0)
        self.address = address.clientNetwork
        self.network = address.clientSite
    }
}

/// How many sessions there are, in all, from each client address and from each network, and how many
/// began lately.
///
/// It only counts: the listener calls it before a session begins and after it ended. Each address
/// and network that is counted has a session open, so ``Maximums/sessions`` bounds the memory.
struct ConnectionLimits {
    /// The most that is allowed; 0 is no limit.
    struct Maximums: Equatable {
        /// Sessions at once, in all, from an address, and from a network.
        var sessions = 0
        var perAddress = 0
        var perNetwork = 0
        /// Sessions that begin in a minute, from an address and from a network.
        var newPerAddress = 0
        var newPerNetwork = 0
    }

    var maximums: Maximums
    private(set) var sessions = 0
    private var byAddress: [IPAddress: Int] = [:]
    private var byNetwork: [IPAddress: Int] = [:]
    private var newByAddress = ConnectionRates()
    private var newByNetwork = ConnectionRates()

    enum Refusal: Int, CaseIterable {
        case tooManySessions
        case tooManyFromAddress
        case tooManyFromNetwork
        case tooManyNewFromAddress
        case tooManyNewFromNetwork
        /// The server's ``MemoryBudget`` refused the session.
        case memoryUsedUp

        /// The key of `[limits]` that refused.
        var key: StaticString {
            switch self {
            case .tooManySessions: "max_sessions"
            case .tooManyFromAddress: "max_sessions_per_ip"
            case .tooManyFromNetwork: "max_sessions_per_network"
            case .tooManyNewFromAddress: "max_new_sessions_per_ip"
            case .tooManyNewFromNetwork: "max_new_sessions_per_network"
            case .memoryUsedUp: "memory_octets"
            }
        }

        /// What the client gets.
        var reply: SMTPReply {
            switch self {
            case .tooManySessions, .tooManyFromAddress, .tooManyFromNetwork:
                StandardReplies.tooManySessions
            case .tooManyNewFromAddress, .tooManyNewFromNetwork:
                StandardReplies.tooManyNewSessions
            case .memoryUsedUp: StandardReplies.memoryUsedUpClosing
            }
        }
    }

    init(_ maximums: Maximums) {
        self.maximums = maximums
    }

    /// Counts a new session, unless it is refused.
    ///
    /// `client` is `nil` while it is not known whose session it is: then it counts in all only, until
    /// ``clientNamed(_:isNew:now:)``. `now` is monotonic milliseconds.
    mutating func sessionOpened(from client: CountedClient?, now: Int64) -> Refusal? {
        guard !Self.isReached(self.maximums.sessions, self.sessions) else {
            return .tooManySessions
        }
        if let client, let refusal = self.clientNamed(client, isNew: true, now: now) {
            return refusal
        }
        self.sessions += 1
        return nil
    }

    /// Counts a session for its address and network too, unless it is refused.
    ///
    /// `isNew` is false for a connection that does not count among those of a minute.
    mutating func clientNamed(_ client: CountedClient, isNew: Bool, now: Int64) -> Refusal? {
        let ofAddress = self.byAddress[client.address, default: 0]
        let ofNetwork = self.byNetwork[client.network, default: 0]
        if Self.isReached(self.maximums.perAddress, ofAddress) { return .tooManyFromAddress }
        if Self.isReached(self.maximums.perNetwork, ofNetwork) { return .tooManyFromNetwork }
        if isNew, let refusal = self.refusalOfNew(client, now: now) { return refusal }
        self.byAddress[client.address] = ofAddress + 1
        self.byNetwork[client.network] = ofNetwork + 1
        return nil
    }

    private mutating func refusalOfNew(_ client: CountedClient, now: Int64) -> Refusal? {
        let (ofAddress, ofNetwork) = (self.maximums.newPerAddress, self.maximums.newPerNetwork)
        guard self.newByAddress.admits(client.address, most: ofAddress, now: now) else {
            return .tooManyNewFromAddress
        }
        guard self.newByNetwork.admits(client.network, most: ofNetwork, now: now) else {
            return .tooManyNewFromNetwork
        }
        return nil
    }

    /// A session ended that ``sessionOpened(from:now:)`` counted; `client` is what it was counted
    /// under.
    mutating func sessionClosed(from client: CountedClient?) {
        self.sessions -= 1
        if let client { self.clientForgotten(client) }
    }

    /// A session is another client's now: it does not count under `client` any more.
    mutating func clientForgotten(_ client: CountedClient) {
        Self.countOneLess(&self.byAddress, client.address)
        Self.countOneLess(&self.byNetwork, client.network)
    }

    private static func countOneLess(_ counts: inout [IPAddress: Int], _ address: IPAddress) {
        guard let count = counts[address] else { return }
        counts[address] = count > 1 ? count - 1 : nil
    }

    private static func isReached(_ most: Int, _ count: Int) -> Bool { most > 0 && count >= most }
}

extension ConnectionLimits.Maximums {
    /// `sessions` is `max_sessions`, or less where the descriptors do not suffice.
    init(_ limits: FrontendConfiguration.Limits, sessions: Int) {
        self.sessions = sessions
        self.perAddress = limits.maximumSessionsPerIP
        self.perNetwork = limits.maximumSessionsPerNetwork
        self.newPerAddress = limits.maximumNewSessionsPerIP
        self.newPerNetwork = limits.maximumNewSessionsPerNetwork
    }
}

/// Client addresses that waited for the delayed greeting once and need not wait again.
///
/// At `capacity` all addresses are forgotten, which costs each client one more delay.
struct GreetingPasses {
    /// How long a pass holds, in milliseconds.
    var lifetimeMilliseconds: Int64
    let capacity: Int
    private var passedUntil: [String: Int64] = [:]

    init(lifetimeMilliseconds: Int64, capacity: Int = 100_000) {
        self.lifetimeMilliseconds = lifetimeMilliseconds
        self.capacity = capacity
    }

    /// `now` is monotonic milliseconds.
    func hasPassed(_ address: String, now: Int64) -> Bool {
        (self.passedUntil[address] ?? .min) > now
    }

    mutating func passed(_ address: String, now: Int64) {
        guard self.lifetimeMilliseconds > 0 else { return }
        if self.passedUntil.count >= self.capacity { self.passedUntil.removeAll() }
        self.passedUntil[address] = now &+ self.lifetimeMilliseconds
    }
}
