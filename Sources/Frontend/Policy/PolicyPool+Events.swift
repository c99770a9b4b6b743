import JSON
import Logging
import NIOCore
import PolicyPool
import PolicyProtocol

// MARK: - Events to workers

extension PolicyPool {
    /// Whether this pool is to be asked about `hook`.
    func isAsked(_ hook: Hook) -> Bool { self.wants.asked.contains(hook) }

    func isObserved(_ hook: Hook) -> Bool { self.wants.observed.contains(hook) }

    /// Whether some worker reads the message at `hook`.
    func needsMessage(_ hook: Hook) -> Bool { self.wants.message.contains(hook) }

    /// Whether some worker looks at header fields at any hook.
    var needsHeaders: Bool { self.wants.needsHeaders }

    var needsTrace: Bool { self.wants.needsTrace }

    /// Asks the pool; the conversation is told by `poolDone`, perhaps before this returns.
    func submit(_ conversation: PolicyConversation, hook: Hook) -> PoolTicket {
        self.lastTicket += 1
        let ticket = self.lastTicket
        let now = self.server.nowNS
        if self.machine.remembersPoison, self.isPoison(conversation.fingerprint, now: now) {
            self.actions.append(.fail(ticket, .poison, worker: nil))
            self.conversations[ticket] = conversation
        } else {
            self.conversations[ticket] = conversation
            self.machine.submit(ticket, hook: hook.index, now: now, actions: &self.actions)
        }
        self.perform()
        return ticket
    }

    /// Whether workers died of this question, and nobody removed the evidence since
    /// (`gatepost poison forget`).
    private func isPoison(_ fingerprint: UInt64, now: UInt64) -> Bool {
        guard self.machine.isPoison(fingerprint, now: now) else { return false }
        guard self.server.evidence.isRemoved(fingerprint) else { return true }
        self.machine.forgetPoison(fingerprint)
        self.logger.notice(
            "poison was forgotten: its evidence was removed",
            metadata: ["pool": "\(self.name)", "poison": "\(PoisonEvidence.name(fingerprint))"]
        )
        return false
    }

    /// The client is gone.
    func cancel(_ ticket: PoolTicket) {
        self.conversations[ticket] = nil
        self.machine.cancelled(ticket, actions: &self.actions)
        self.perform()
    }

    /// Tells one observer of each name; slow ones miss it.
    func notify(_ hook: Hook, from conversation: PolicyConversation, args: [UInt8]) {
        guard self.isObserved(hook) else { return }
        for id in self.machine.observers(of: hook.index) {
            guard let connection = self.connections[id] else { continue }
            let isWritten = conversation.writeNotification(
                hook,
                args: args,
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
        guard self.isObserved(.status) else { return }
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
        self.machine.timePassed(now: self.server.nowNS, actions: &self.actions)
        self.perform()
    }

    func perform() {
        guard !self.isPerforming else { return }
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
            self.sayDrain(connection, reason: "requested")
        case .close(let worker, let reason): self.close(worker, reason)
        case .poison(let ticket): self.keepPoison(ticket)
        case .passOver(let ticket):
            self.conversations.removeValue(forKey: ticket)?.poolDone(.passedOver)
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
            let conversation = self.conversations[ticket], let hook = conversation.openHook
        else { return }
        let isWritten = conversation.writeEvent(
            id: eventID,
            attempt: attempt,
            deadlineMS: Int64(clamping: remainingNS / 1_000_000),
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
        guard let conversation = self.conversations.removeValue(forKey: ticket) else { return }
        let label = worker.map { id in
            self.connections[id]?.label ?? self.lostLabels[id]
                ?? WorkerLabel(name: "", connection: id)
        }
        // At queue it may have taken the message, so nobody else was asked.
        let isQueueLost = failure == .worker_lost && conversation.openHook == .queue
        self.server.logger.log(
            level: isQueueLost ? .error : .warning,
            isQueueLost ? "queue_lost: a worker died while it queued a message" : "policy failed",
            metadata: [
                "session": "\(conversation.facts.id)", "pool": "\(self.name)",
                "hook": "\(conversation.openHook?.rawValue ?? "")",
                "failure": "\(failure.rawValue)",
                "worker": "\(label.map { "\($0)" } ?? "none")",
            ]
        )
        conversation.poolDone(.failed(reason: failure.rawValue, worker: label))
    }

    private func close(_ worker: WorkerID, _ reason: PoolAction.CloseReason) {
        guard let connection = self.connections[worker] else { return }
        self.log(.warning, "a worker is closed", connection, ["reason": "\(reason.rawValue)"])
        FrontendLine.bye(code: reason.rawValue, message: "", into: &connection.output)
        self.lose(connection)
    }

    /// Keeps what two workers died of, for the plugin's author.
    private func keepPoison(_ ticket: PoolTicket) {
        guard let conversation = self.conversations[ticket] else { return }
        var event = JSONWriter()
        let everything = PolicyConversation.Addressee(
            needs: [.headers, .recipients, .message, .trace],
            maximumFrameOctets: .max
        )
        _ = conversation.writeEvent(id: 1, attempt: 1, deadlineMS: 0, to: everything, into: &event)
        self.logger.error(
            "poison: an event was there when two workers died",
            metadata: [
                "session": "\(conversation.facts.id)", "pool": "\(self.name)",
                "poison": "\(PoisonEvidence.name(conversation.fingerprint))",
            ]
        )
        self.server.evidence.keep(
            conversation.fingerprint,
            event: event.octets,
            message: conversation.message?.path
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
