/// What the machine knows of one connection.
struct WorkerSlot: Sendable {
    enum State: Equatable {
        /// Connected; hello is due.
        case greeting(until: UInt64)
        case ready
        /// Nothing is sent any more; it leaves when its last answer is out.
        case draining
        /// It failed too often: nothing is sent any more, and with its last answer it is closed.
        case quarantined
        /// The owner was told to close it.
        case closing(PoolAction.CloseReason)
    }

    /// An event that the worker has and has not answered.
    struct Held: Sendable {
        let eventID: Int64
        /// `nil` once nobody waits for it.
        var ticket: PoolTicket?
        /// What its question is known by, once nobody waits for it.
        var fingerprint: UInt64?
        let sentNS: UInt64
        /// From then on it is overdue, whether or not somebody still waits.
        var deadlineNS: UInt64
        /// Progress reports that moved the deadline.
        var extensions: UInt8 = 0
    }

    /// More `progress` than this for one event is ignored (failure.md, `progress_flood`).
    static let mostExtensions: UInt8 = 100

    let id: WorkerID
    var state: State
    var hello = PoolHello(identity: "", name: "", concurrency: 0, asked: [])
    /// By event id, ascending: ids ascend with the sending, and most answers are to the oldest.
    private(set) var held: [Held] = []
    /// Of those held, how many somebody waits for.
    private(set) var awaited = 0
    private(set) var lastEventID: Int64 = 0
    /// Credits in use so far allowed: grows to the worker's concurrency with good answers.
    var rampedCredits = 0
    /// A suspect runs here alone.
    private(set) var isExclusive = false
    /// It gets nothing new until it is idle, so that a suspect can run here.
    var isReserved = false
    /// It said `drain`, and was answered.
    var isDrainAnswered = false
    /// Its socket takes no more; since when.
    var blockedSinceNS: UInt64?
    /// When something last came from it.
    var heardNS: UInt64 = 0
    /// It was asked `ping` then, and nothing has come since.
    var pingedNS: UInt64?
    /// Its identity may have failures that an answer ends.
    var hasFailuresInARow = false
    /// It answered a question that was still open, well or not.
    var hasAnswered = false
    var served: UInt64 = 0
    var failed: UInt64 = 0
    var late: UInt64 = 0
    var latency = LatencyHistogram()

    init(id: WorkerID, state: State) {
        self.id = id
        self.state = state
    }

    var credits: Int { min(self.hello.concurrency, self.rampedCredits) }

    /// Whether it only observes; one that names no hook at all is a worker, which declines everything.
    var isObserver: Bool { self.hello.asked.isEmpty && !self.hello.observed.isEmpty }

    /// Whether it serves anything at all, now or when it has the time.
    var serves: Bool { self.state == .ready && self.hello.concurrency > 0 }

    /// Whether it may get an ordinary event.
    var isFree: Bool {
        self.state == .ready && self.held.count < self.credits && !self.isExclusive
            && !self.isReserved && self.blockedSinceNS == nil
    }

    /// Whether a suspect may run here: alone.
    var isIdle: Bool {
        self.state == .ready && self.held.isEmpty && self.credits > 0 && self.blockedSinceNS == nil
    }

    /// Whether this worker is less busy than `other`, by outstanding events a credit.
    func isLessBusy(than other: borrowing WorkerSlot) -> Bool {
        self.held.count * other.credits < other.held.count * self.credits
    }

    /// Whether it owes an answer that is not overdue.
    func isBusy(now: UInt64) -> Bool { self.held.contains { $0.deadlineNS > now } }

    // MARK: - What it holds

    /// Where the event stands in ``held``; `nil` if it was answered or never sent.
    func position(of eventID: Int64) -> Int? {
        if self.held.first?.eventID == eventID { return 0 }
        var low = 0
        var high = self.held.count
        while low < high {
            let middle = (low + high) / 2
            if self.held[middle].eventID < eventID { low = middle + 1 } else { high = middle }
        }
        return low < self.held.count && self.held[low].eventID == eventID ? low : nil
    }

    /// Takes a credit, and returns the id of the event.
    mutating func hold(
        _ ticket: PoolTicket,
        now: UInt64,
        deadlineNS: UInt64,
        isAlone: Bool
    ) -> Int64 {
        self.lastEventID += 1
        self.awaited += 1
        self.isExclusive = isAlone
        self.held.append(
            Held(
                eventID: self.lastEventID,
                ticket: ticket,
                sentNS: now,
                deadlineNS: deadlineNS
            )
        )
        return self.lastEventID
    }

    /// Nobody waits for the answer any more; the credit stays taken.
    mutating func abandon(_ eventID: Int64, fingerprint: UInt64) {
        guard let position = self.position(of: eventID), self.held[position].ticket != nil else {
            return
        }
        self.held[position].ticket = nil
        self.held[position].fingerprint = fingerprint
        self.awaited -= 1
    }

    /// Gives the credit back.
    mutating func release(at position: Int) {
        if self.held[position].ticket != nil { self.awaited -= 1 }
        self.held.remove(at: position)
        if self.held.isEmpty { self.isExclusive = false }
    }

    /// What it holds is another question now, with a deadline of its own.
    mutating func renew(at position: Int, deadlineNS: UInt64) {
        self.held[position].deadlineNS = deadlineNS
    }

    /// Moves a deadline; false if it was moved too often.
    mutating func extend(at position: Int, to deadlineNS: UInt64) -> Bool {
        guard self.held[position].extensions < Self.mostExtensions else { return false }
        self.held[position].extensions += 1
        self.held[position].deadlineNS = deadlineNS
        return true
    }
}
