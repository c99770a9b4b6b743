import Configuration
import JSON
import Logging
import NIOCore
import NIOPosix
import PolicyCore
import PolicyProtocol
import PoolCore
import ServiceLog

// MARK: - Events to workers

extension WorkerPool {
    /// This shadow is not shown a question.
    func notShown(_ hook: Hook, _ why: ShadowQuestion.NotShown, session: String) {
        switch why {
        case .failed: self.shadowCounts.failed += 1
        case .dropped: self.shadowCounts.dropped += 1
        }
        self.logSparingly(
            .notice,
            "a shadow is not shown a question",
            [
                "session": "\(session)", "pool": "\(self.name)", "hook": "\(hook.rawValue)",
                "reason": "shadow_\(why)", "kept_octets": .number(self.shadowBudget.octets),
                "kept_messages": .number(self.shadowBudget.messages),
            ]
        )
    }

    /// Removes a replacement message that will not be used.
    func removeReplacement(_ path: String) {
        let folder = self.server.spool.outFolder(pool: self.name)
        self.server.threads.submit { _ in ReplacementMessage.remove(path, folder: folder) }
    }

    /// Removes what workers left in `out/` and cannot name any more: everything once no worker is
    /// there on any loop (`isDrained`), else what is older than the longest event of this pool.
    func sweepOutFolder(isDrained: Bool) {
        let longestMS = Hook.allCases.map { self.configuration.policy(for: $0).maximumDeadlineMS }
            .max()
        let seconds = isDrained ? 0 : Int(clamping: (longestMS ?? 0) / 1_000)
        let second = time(nil) - seconds - OutFolder.marginSeconds
        let folder = self.server.spool.outFolder(pool: self.name)
        self.server.threads.submit { _ in OutFolder.sweep(folder, changedBefore: second) }
    }

    /// Asks the pool; the asker is told by `poolDone`, perhaps before this returns.
    func submit(_ asker: any PoolAsker, hook: Hook) -> PoolTicket {
        self.lastTicket += 1
        let ticket = self.lastTicket
        let now = self.server.nowNS
        let fingerprint = self.machine.remembersPoison ? asker.fingerprint : nil
        self.askers[ticket] = asker
        if let fingerprint, self.isPoison(fingerprint, now: now) {
            // Workers may have hung with it, and the client be gone by the time that this was known.
            if !self.server.evidence.isKept(fingerprint) { self.actions.append(.poison(ticket)) }
            self.actions.append(.fail(ticket, .poison, worker: nil))
        } else {
            self.machine.submit(
                ticket,
                hook: hook.index,
                fingerprint: fingerprint,
                now: now,
                actions: &self.actions
            )
        }
        self.perform()
        return ticket
    }

    /// Whether workers died of this question, and the evidence is still there
    /// (`gatepost poison forget`).
    private func isPoison(_ fingerprint: UInt64, now: UInt64) -> Bool {
        guard self.machine.isPoison(fingerprint, now: now) else { return false }
        guard self.server.evidence.isRemoved(fingerprint) else { return true }
        // The evidence is one for all pools: gone, it cannot speak for another.
        self.server.forgetPoison(fingerprint)
        self.server.shared.loops.onOthers(than: self.server.index) { $0.forgetPoison(fingerprint) }
        self.logger.notice(
            "poison was forgotten: its evidence was removed",
            metadata: ["pool": "\(self.name)", "poison": "\(PoisonEvidence.name(fingerprint))"]
        )
        return false
    }

    /// The client is gone.
    func cancel(_ ticket: PoolTicket) {
        let asker = self.askers.removeValue(forKey: ticket)
        self.machine.cancelled(
            ticket,
            fingerprint: { asker?.fingerprint ?? ticket },
            actions: &self.actions
        )
        self.perform()
    }

    /// Tells one observer of each name; slow ones miss it.
    func notify(_ hook: Hook, from session: SMTPSessionHandler, args: [UInt8]) {
        guard self.profile.isObserved(hook) else { return }
        for id in self.machine.observers(of: hook.index) {
            guard let connection = self.connections[id] else { continue }
            let isWritten = session.writeNotification(
                hook,
                args: args,
                of: self,
                to: connection.addressee(for: hook),
                into: &connection.output
            )
            if isWritten {
                self.written(to: connection)
            } else {
                connection.droppedNotifications += 1
            }
        }
    }

    /// Sends the line of a `status` notification to one observer of each name.
    func tellStatus(_ line: [UInt8]) {
        guard self.profile.isObserved(.status) else { return }
        for id in self.machine.observers(of: Hook.status.index) {
            guard let connection = self.connections[id], let hello = connection.hello else {
                continue
            }
            guard line.count <= hello.maximumFrameOctets else {
                connection.droppedNotifications += 1
                continue
            }
            connection.output.append(line: line)
            self.written(to: connection)
        }
    }

    func timePassed() {
        let now = self.server.nowNS
        for connection in self.connections.values where connection.hasSpoken {
            connection.hasSpoken = false
            self.machine.workerHeard(connection.id, now: now)
        }
        let askers = self.askers
        self.machine.timePassed(
            now: now,
            fingerprint: { askers[$0]?.fingerprint ?? $0 },
            actions: &self.actions
        )
        self.perform()
    }

    func perform() {
        guard !self.isPerforming, !self.actions.isEmpty || !self.lostLabels.isEmpty else { return }
        self.isPerforming = true
        var next = 0
        while next < self.actions.count {
            let action = self.actions[next]
            next += 1
            self.perform(action)
        }
        self.actions.removeAll(keepingCapacity: true)
        self.lostLabels.removeAll(keepingCapacity: true)
        self.isPerforming = false
        if self.hasOtherLoops, !self.claims.isEmpty { self.giveClaimsBack() }
    }

    private func perform(_ action: PoolAction) {
        switch action {
        case .send(let ticket, let worker, let eventID, let attempt, let remainingNS):
            self.send(ticket, to: worker, eventID, attempt: attempt, remainingNS: remainingNS)
        case .fail(let ticket, let failure, let worker): self.fail(ticket, failure, worker)
        case .cancelEvent(let worker, let eventID, let reason):
            guard let connection = self.connections[worker] else { return }
            FrontendLine.cancel(id: eventID, reason: reason.rawValue, into: &connection.output)
            self.written(to: connection)
        case .answerDrain(let worker):
            guard let connection = self.connections[worker] else { return }
            self.sayDrain(connection, .requested)
        case .ping(let worker):
            guard let connection = self.connections[worker] else { return }
            self.lastPing += 1
            FrontendLine.ping(self.lastPing, into: &connection.output)
            self.written(to: connection)
        case .close(let worker, let reason): self.close(worker, reason)
        case .poison(let ticket): self.keepPoison(ticket)
        case .passOver(let ticket):
            self.askers.removeValue(forKey: ticket)?.poolDone(.passedOver, peerUserID: .max)
        case .deathCounted(let fingerprint):
            let now = self.server.nowNS
            self.tellOtherLoops { $0.deathCountedElsewhere(with: fingerprint, now: now) }
        case .suspicionCleared(let fingerprint):
            self.tellOtherLoops { $0.suspicionClearedElsewhere(fingerprint) }
        }
    }

    /// Tells the machines that this pool has on other loops.
    private func tellOtherLoops(_ body: @escaping @Sendable (inout PoolMachine) -> Void) {
        let name = self.name
        self.server.shared.loops.onOthers(than: self.server.index) { other in
            guard let pool = other.pools.first(where: { $0.name == name }) else { return }
            body(&pool.machine)
        }
    }

    /// Takes the worker for a suspect of this loop.
    ///
    /// - Returns: False if it holds a suspect of another loop.
    private func claim(_ connection: WorkerConnectionHandler) -> Bool {
        let hello = connection.hello
        let process = WorkerProcess(
            processID: connection.peer.processID,
            identity: "\(connection.peer.userID)/\(hello?.name ?? "")/\(hello?.instance ?? "")"
        )
        let shared = self.server.shared
        guard shared.suspects.take(process, loop: self.server.index) else { return false }
        self.claims[connection.id] = process
        return true
    }

    /// Other loops may send suspects again to the workers that hold none of this loop any more.
    private func giveClaimsBack() {
        for (id, process) in self.claims where !self.machine.isExclusive(id) {
            self.claims[id] = nil
            self.server.shared.suspects.giveBack(process, loop: self.server.index)
        }
    }

    private func send(
        _ ticket: PoolTicket,
        to worker: WorkerID,
        _ eventID: Int64,
        attempt: Int,
        remainingNS: UInt64
    ) {
        guard let connection = self.connections[worker],
            let asker = self.askers[ticket], let hook = asker.openHook
        else { return }
        guard !connection.isBlocked else {
            return self.machine.heldBack(
                from: worker,
                eventID: eventID,
                now: self.server.nowNS,
                actions: &self.actions
            )
        }
        if self.hasOtherLoops, self.machine.isExclusive(worker), !self.claim(connection) {
            return self.machine.claimedElsewhere(
                worker,
                eventID: eventID,
                now: self.server.nowNS,
                actions: &self.actions
            )
        }
        guard hook != .queue || connection.keepsFutureRelease || !asker.isHeld else {
            // It came after the pool was asked, and might release the message at once.
            return self.machine.couldNotSend(
                to: worker,
                eventID: eventID,
                as: .no_worker,
                now: self.server.nowNS,
                actions: &self.actions
            )
        }
        let head = EventHead(
            id: eventID,
            attempt: attempt,
            deadlineMS: Int64(clamping: remainingNS / 1_000_000)
        )
        let isWritten = asker.writeEvent(
            head,
            to: connection.addressee(for: hook),
            into: &connection.output
        )
        if isWritten {
            self.written(to: connection)
        } else {
            self.machine.couldNotSend(
                to: worker,
                eventID: eventID,
                now: self.server.nowNS,
                actions: &self.actions
            )
        }
    }

    private func fail(_ ticket: PoolTicket, _ failure: PoolFailure, _ worker: WorkerID?) {
        guard let asker = self.askers.removeValue(forKey: ticket) else { return }
        let label = worker.map { id in
            self.connections[id]?.label ?? self.lostLabels[id]
                ?? WorkerLabel(name: "", connection: id)
        }
        var metadata: Logger.Metadata = [
            "session": "\(asker.sessionID)", "pool": "\(self.name)",
            "hook": "\(asker.openHook?.rawValue ?? "")",
            "failure": "\(failure.rawValue)",
            "worker": "\(label.map { "\($0)" } ?? "none")",
        ]
        if let transaction = asker.transactionID { metadata["transaction"] = "\(transaction)" }
        // At queue the worker may have taken the message, so no other worker was asked.
        if self.isShadow {
            self.logSparingly(.notice, "a shadow failed", metadata)
        } else if failure == .worker_lost, asker.openHook == .queue {
            self.logger.error(
                "queue_lost: a worker died while it queued a message",
                metadata: metadata
            )
        } else {
            self.logSparingly(.warning, "policy failed", metadata)
        }
        asker.poolDone(.failed(reason: failure.rawValue, worker: label), peerUserID: .max)
    }

    private func close(_ worker: WorkerID, _ reason: PoolAction.CloseReason) {
        guard let connection = self.connections[worker] else { return }
        guard let code = FrontendLine.ByeCode(reason) else {
            return self.reject(connection, .bad_hello, "no hello in time")
        }
        self.log(.warning, "a worker is closed", connection, ["reason": "\(reason.rawValue)"])
        FrontendLine.bye(code, message: "", into: &connection.output)
        self.lose(connection)
    }

    /// The worker does not read, and more waits for it than may.
    func closeSlowReader(_ connection: WorkerConnectionHandler) {
        self.log(
            .warning,
            "a worker is closed",
            connection,
            ["reason": "slow_reader", "why": "too many octets wait to be read"]
        )
        FrontendLine.bye(
            .slow_reader,
            message: "too many octets wait to be read",
            into: &connection.output
        )
        self.lose(connection)
        self.perform()
    }

    /// Keeps what two workers died of, for the plugin's author.
    private func keepPoison(_ ticket: PoolTicket) {
        guard let asker = self.askers[ticket] else { return }
        var event = JSONWriter()
        let everything = EventAddressee(
            needs: [.headers, .recipients, .message, .trace],
            maximumFrameOctets: .max
        )
        let head = EventHead(id: 1, attempt: 1, deadlineMS: 0)
        _ = asker.writeEvent(head, to: everything, into: &event)
        var metadata: Logger.Metadata = [
            "session": "\(asker.sessionID)", "pool": "\(self.name)",
            "poison": "\(PoisonEvidence.name(asker.fingerprint))",
        ]
        if let transaction = asker.transactionID { metadata["transaction"] = "\(transaction)" }
        self.logger.error(
            "poison: two workers died or hung with an event and nothing else",
            metadata: metadata
        )
        self.server.evidence.keep(
            asker.fingerprint,
            event: event.octets,
            message: asker.messagePath
        )
    }

    /// Something waits to be sent to this worker; sent at the end of the loop's turn, or as soon as
    /// it is enough to keep the worker busy until then.
    func written(to connection: WorkerConnectionHandler) {
        if connection.output.octets.count >= WorkerConnectionHandler.promptOctets {
            return connection.flush()
        }
        guard !connection.isDirty else { return }
        connection.isDirty = true
        self.dirty.append(connection)
        guard self.dirty.count == 1 else { return }
        self.server.loop.assumeIsolated().execute {
            let dirty = self.dirty
            self.dirty.removeAll(keepingCapacity: true)
            for connection in dirty where connection.isDirty { connection.flush() }
        }
    }
}

extension FrontendLine.ByeCode {
    /// - Returns: `nil` for a worker that was never greeted: it is rejected.
    init?(_ reason: PoolAction.CloseReason) {
        switch reason {
        case .handshake: return nil
        case .slow_reader: self = .slow_reader
        case .zombie: self = .zombie
        case .quarantined: self = .quarantined
        }
    }
}
