// MARK: - Time, and the health of workers

extension PoolMachine {
    /// Looks at every deadline; call at least every 100 ms.
    package mutating func timePassed(now: UInt64, actions: inout [PoolAction]) {
        self.failOverdueTickets(now: now, actions: &actions)
        self.failTicketsWithoutWorker(now: now, actions: &actions)
        for (id, worker) in self.workers.sorted(by: { $0.key < $1.key }) {
            if let reason = self.reasonToClose(worker, now: now) {
                actions.append(.close(id, reason))
            }
        }
        self.poison.forget(now: now)
        self.health.forget(now: now)
        self.dispatchQueue(now: now, actions: &actions)
    }

    private mutating func failOverdueTickets(now: UInt64, actions: inout [PoolAction]) {
        let overdue = self.tickets.filter { $0.value.deadlineNS <= now }.sorted { $0.key < $1.key }
        for (ticket, slot) in overdue {
            guard case .sent(let id, let eventID) = slot.place else {
                let reason: PoolFailure = self.mayBeServed(slot) ? .deadline : .no_worker
                self.fail(ticket, reason, worker: nil, now: now, actions: &actions)
                continue
            }
            // The credit stays taken until the worker answers: it is still busy.
            self.workers[id]?.held[eventID]?.ticket = nil
            actions.append(.cancelEvent(id, eventID: eventID, reason: .deadline))
            self.workerFailed(id, now: now, actions: &actions)
            self.fail(ticket, .deadline, worker: id, now: now, actions: &actions)
        }
    }

    /// After the grace nobody waits for a worker that is not there.
    private mutating func failTicketsWithoutWorker(now: UInt64, actions: inout [PoolAction]) {
        guard now >= self.graceUntilNS else { return }
        for ticket in self.queue {
            guard let slot = self.tickets[ticket], slot.place == .queued, !self.mayBeServed(slot)
            else { continue }
            self.fail(ticket, .no_worker, worker: nil, now: now, actions: &actions)
        }
    }

    private func reasonToClose(_ worker: WorkerSlot, now: UInt64) -> PoolAction.CloseReason? {
        if case .greeting(let until) = worker.state, until <= now { return .handshake }
        if let since = worker.blockedSinceNS, now &- since >= self.settings.zombieNS {
            return .slow_reader
        }
        if worker.held.values.contains(where: { $0.zombieNS <= now }) { return .zombie }
        return nil
    }

    mutating func workerSucceeded(_ id: WorkerID) {
        guard let worker = self.workers[id] else { return }
        self.workers[id]?.served += 1
        if worker.rampedCredits < worker.hello.concurrency { self.workers[id]?.rampedCredits += 1 }
        if worker.failed > 0 || self.health.isProbation(worker.hello.identity) {
            self.health.succeeded(worker.hello.identity)
        }
    }

    mutating func workerFailed(_ id: WorkerID, now: UInt64, actions: inout [PoolAction]) {
        guard let worker = self.workers[id] else { return }
        self.workers[id]?.failed += 1
        let isOut = self.health.failed(worker.hello.identity, now: now, poolSize: self.ready.count)
        if isOut, worker.state == .ready { actions.append(.close(id, .quarantined)) }
    }
}

/// Who failed how often in a row, by the identity of the worker, not by its connection.
struct WorkerHealth: Sendable {
    /// Credits that a worker starts with; good answers raise them to its concurrency.
    static let firstCredits = 4
    static let failuresOfQuarantine = 3
    static let firstBackoffNS: UInt64 = 1_000_000_000
    static let longestBackoffNS: UInt64 = 60_000_000_000
    /// Identities remembered.
    static let capacity = 1_024

    private struct Record {
        var failuresInARow = 0
        var quarantines = 0
        var untilNS: UInt64 = 0
        var lastNS: UInt64 = 0
    }

    private var records: [String: Record] = [:]

    /// When a quarantine ends; `nil` if there never was one.
    func quarantinedUntil(_ identity: String) -> UInt64? {
        self.records[identity].flatMap { $0.quarantines > 0 ? $0.untilNS : nil }
    }

    /// Whether it came back from quarantine and has not proved itself.
    func isProbation(_ identity: String) -> Bool { (self.records[identity]?.quarantines ?? 0) > 0 }

    mutating func succeeded(_ identity: String) { self.records[identity] = nil }

    /// Counts a failure; true if the worker is to be closed and kept out.
    ///
    /// The backoff: 1 s · 2ⁿ⁻¹, at most 60 s. 1st: 1 s, 4th: 8 s, 7th on: 60 s. Never more than half
    /// of the pool is out.
    @discardableResult
    mutating func failed(_ identity: String, now: UInt64, poolSize: Int) -> Bool {
        if self.records.count >= Self.capacity, self.records[identity] == nil {
            self.forget(now: .max)
        }
        var record = self.records[identity] ?? Record()
        record.failuresInARow += 1
        record.lastNS = now
        defer { self.records[identity] = record }
        guard record.failuresInARow >= Self.failuresOfQuarantine else { return false }
        let out = self.records.values.count { $0.untilNS > now }
        guard (out + 1) * 2 <= poolSize + out else { return false }
        let backoff = min(
            Self.firstBackoffNS << UInt64(min(record.quarantines, 6)),
            Self.longestBackoffNS
        )
        record.quarantines += 1
        record.failuresInARow = 0
        record.untilNS = now &+ backoff
        return true
    }

    /// Drops what happened more than ten minutes ago.
    mutating func forget(now: UInt64) {
        guard !self.records.isEmpty else { return }
        let horizon: UInt64 = 600_000_000_000
        self.records = self.records.filter {
            now == .max ? false : now &- $0.value.lastNS < horizon
        }
    }
}

/// Leaves a pool alone that fails more than it answers.
///
/// Over windows of ten seconds: with at least 20 events of which more than half failed it opens; then
/// one event every 500 ms tries, and one good answer closes it.
struct PoolBreaker: Sendable {
    static let fewestEvents = 20
    static let trialNS: UInt64 = 500_000_000
    static let windowNS: UInt64 = 10_000_000_000

    private var events = 0
    private var failures = 0
    private var windowEndsNS: UInt64 = 0
    /// The next trial, while it is open.
    private var nextTrialNS: UInt64?

    var isOpen: Bool { self.nextTrialNS != nil }

    mutating func admits(now: UInt64) -> Bool {
        guard let trial = self.nextTrialNS else { return true }
        guard now >= trial else { return false }
        self.nextTrialNS = now &+ Self.trialNS
        return true
    }

    mutating func succeeded() {
        self.events += 1
        guard self.isOpen else { return }
        self.nextTrialNS = nil
        self.events = 0
        self.failures = 0
    }

    mutating func failed(now: UInt64) {
        if now >= self.windowEndsNS {
            self.windowEndsNS = now &+ Self.windowNS
            self.events = 0
            self.failures = 0
        }
        self.events += 1
        self.failures += 1
        guard !self.isOpen, self.events >= Self.fewestEvents, self.failures * 2 > self.events else {
            return
        }
        self.nextTrialNS = now &+ Self.trialNS
    }
}

/// Fingerprints of questions that were there at two deaths, for an hour.
struct PoisonMemory: Sendable {
    static let deathsOfPoison = 2
    static let lifetimeNS: UInt64 = 3_600_000_000_000
    static let capacity = 4_096

    private var untilNS: [UInt64: UInt64] = [:]
    private var nextSweepNS: UInt64 = 0

    var isEmpty: Bool { self.untilNS.isEmpty }

    func isKnown(_ fingerprint: UInt64, now: UInt64) -> Bool {
        (self.untilNS[fingerprint] ?? 0) > now
    }

    /// Keeps one more; at the capacity all older ones are let go.
    mutating func remember(_ fingerprint: UInt64, now: UInt64) {
        if self.untilNS.count >= Self.capacity { self.untilNS.removeAll() }
        self.untilNS[fingerprint] = now &+ Self.lifetimeNS
    }

    mutating func forget(now: UInt64) {
        guard now >= self.nextSweepNS, !self.untilNS.isEmpty else { return }
        self.nextSweepNS = now &+ Self.lifetimeNS / 60
        self.untilNS = self.untilNS.filter { $0.value > now }
    }
}
