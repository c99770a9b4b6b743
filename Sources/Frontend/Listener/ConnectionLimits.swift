import SMTPCore

/// How many sessions there are, in all and from each client address.
///
/// Pure counting: the listener asks before a session begins and tells when it ended.
struct ConnectionLimits {
    /// Most sessions at once; 0 is no limit.
    var maximumSessions: Int
    /// Most sessions at once from one client address; 0 is no limit.
    var maximumSessionsPerAddress: Int

    private(set) var sessions = 0
    private var byAddress: [String: Int] = [:]

    enum Refusal: Equatable {
        case tooManySessions
        case tooManyFromAddress
        /// The server's ``MemoryBudget``, not counted here.
        case memoryUsedUp

        /// The key of `[limits]` that refused.
        var key: String {
            switch self {
            case .tooManySessions: "max_sessions"
            case .tooManyFromAddress: "max_sessions_per_ip"
            case .memoryUsedUp: "memory_octets"
            }
        }

        /// What the client is told.
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

    /// Counts a session in; a refusal counts nothing.
    mutating func sessionOpened(from address: String) -> Refusal? {
        guard self.maximumSessions == 0 || self.sessions < self.maximumSessions else {
            return .tooManySessions
        }
        let count = self.byAddress[address, default: 0]
        guard self.maximumSessionsPerAddress == 0 || count < self.maximumSessionsPerAddress else {
            return .tooManyFromAddress
        }
        self.byAddress[address] = count + 1
        self.sessions += 1
        return nil
    }

    /// Counts a session out that ``sessionOpened(from:)`` counted in.
    mutating func sessionClosed(from address: String) {
        self.sessions -= 1
        guard let count = self.byAddress[address] else { return }
        self.byAddress[address] = count > 1 ? count - 1 : nil
    }
}

/// Client addresses that waited out the greeting once and are not made to wait again.
///
/// Bounded: at `capacity` the whole memory is dropped, which costs each client one more delay.
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
