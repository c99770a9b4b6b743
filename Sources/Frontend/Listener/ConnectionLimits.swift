import SMTPCore

/// How many sessions there are, in all and from each client address.
///
/// It only counts: the listener calls it before a session begins and after it ended.
struct ConnectionLimits {
    /// How many sessions may be open at once; 0 is no limit.
    var maximumSessions: Int
    /// How many sessions one client address may have open; 0 is no limit.
    var maximumSessionsPerAddress: Int

    private(set) var sessions = 0
    private var byAddress: [String: Int] = [:]

    enum Refusal: Equatable {
        case tooManySessions
        case tooManyFromAddress
        /// The server's ``MemoryBudget`` refused the session.
        case memoryUsedUp

        /// The key of `[limits]` that refused.
        var key: String {
            switch self {
            case .tooManySessions: "max_sessions"
            case .tooManyFromAddress: "max_sessions_per_ip"
            case .memoryUsedUp: "memory_octets"
            }
        }

        /// What the client gets.
        var reply: SMTPReply {
            switch self {
            case .tooManySessions, .tooManyFromAddress: StandardReplies.tooManySessions
            case .memoryUsedUp: StandardReplies.memoryUsedUpClosing
            }
        }
    }

    init(maximumSessions: Int, maximumSessionsPerAddress: Int) {
        self.maximumSessions = maximumSessions
        self.maximumSessionsPerAddress = maximumSessionsPerAddress
    }

    /// Counts a new session, unless it is refused.
    ///
    /// `address` is `nil` while it is not known whose session it is: then it counts in all only, until
    /// ``clientNamed(_:)``.
    mutating func sessionOpened(from address: String?) -> Refusal? {
        guard self.maximumSessions == 0 || self.sessions < self.maximumSessions else {
            return .tooManySessions
        }
        if let address, let refusal = self.clientNamed(address) { return refusal }
        self.sessions += 1
        return nil
    }

    /// Counts a session for its address too, unless it is refused.
    mutating func clientNamed(_ address: String) -> Refusal? {
        let count = self.byAddress[address, default: 0]
        guard self.maximumSessionsPerAddress == 0 || count < self.maximumSessionsPerAddress else {
            return .tooManyFromAddress
        }
        self.byAddress[address] = count + 1
        return nil
    }

    /// A session ended that ``sessionOpened(from:)`` counted; `address` is what it was counted for.
    mutating func sessionClosed(from address: String?) {
        self.sessions -= 1
        guard let address, let count = self.byAddress[address] else { return }
        self.byAddress[address] = count > 1 ? count - 1 : nil
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
