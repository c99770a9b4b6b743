/// A session, as the registry needs it.
protocol RestingSession: AnyObject {
    /// How the session rests; `nil` while each tick looks at it.
    var rest: SessionRest? { get set }
}

/// A session in which nothing happens until its client sends something or a time is over.
struct SessionRest: Equatable {
    /// The tick that looks at the session next.
    let tick: UInt64
    /// Octets of memory that it holds meanwhile.
    let heldOctets: Int
}

/// Every session that is open now, and which of them a tick looks at.
///
/// One tick for all sessions instead of a timer each. A session that waits for a command of its client
/// rests: no tick looks at it until half of its time is over, so that thousands of idle sessions cost
/// next to nothing, and ticks that come late make no timeout late. All others are looked at in each
/// tick. A pure state machine: no clock, no I/O.
struct SessionRegistry<Session: RestingSession> {
    /// No session rests for as many ticks.
    static var ringTicks: Int { 64 }

    private var sessions: [ObjectIdentifier: Session] = [:]
    /// The sessions that do not rest.
    private var awake: [ObjectIdentifier: Session] = [:]
    /// The sessions that begin to rest, by the tick that looks at them; some were woken since.
    private var ring = [[ObjectIdentifier]](repeating: [], count: Self.ringTicks)
    private var tick: UInt64 = 0
    /// Octets of memory that the resting sessions hold.
    private(set) var restingOctets = 0

    var count: Int { self.sessions.count }

    /// How many sessions rest, for tests.
    var restingCount: Int { self.sessions.count - self.awake.count }

    mutating func opened(_ session: Session) {
        self.sessions[ObjectIdentifier(session)] = session
        self.awake[ObjectIdentifier(session)] = session
    }

    mutating func closed(_ session: Session) {
        self.woken(session)
        self.sessions[ObjectIdentifier(session)] = nil
        self.awake[ObjectIdentifier(session)] = nil
    }

    /// The sessions of this moment, to be told something that may end them.
    var all: [Session] { Array(self.sessions.values) }

    /// A tick: the sessions to look at, none of which rests.
    mutating func ticked() -> [Session] {
        self.tick += 1
        let slot = Int(self.tick % UInt64(Self.ringTicks))
        let due = self.ring[slot]
        self.ring[slot].removeAll(keepingCapacity: due.count < 64)
        for identifier in due {
            guard let session = self.sessions[identifier] else { continue }
            if session.rest?.tick == self.tick { self.woken(session) }
        }
        return Array(self.awake.values)
    }

    /// Nothing happens in the session for `ticks` unless its client sends something.
    mutating func rests(_ session: Session, ticks: Int64, heldOctets: Int) {
        let identifier = ObjectIdentifier(session)
        guard session.rest == nil, self.awake.removeValue(forKey: identifier) != nil else { return }
        let wait = min(max(ticks / 2, 1), Int64(Self.ringTicks - 1))
        let rest = SessionRest(tick: self.tick + UInt64(wait), heldOctets: heldOctets)
        session.rest = rest
        self.ring[Int(rest.tick % UInt64(Self.ringTicks))].append(identifier)
        self.restingOctets += heldOctets
    }

    /// Something happens in a session that rests, if it does: the next tick looks at it.
    mutating func woken(_ session: Session) {
        guard let rest = session.rest else { return }
        session.rest = nil
        self.restingOctets -= rest.heldOctets
        self.awake[ObjectIdentifier(session)] = session
    }
}
