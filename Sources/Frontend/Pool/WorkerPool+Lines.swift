import Configuration
import JSON
import Logging
import PolicyCore
import PolicyProtocol
import PoolCore

// MARK: - Lines from workers

extension WorkerPool {
    func received(_ line: [UInt8], from connection: WorkerConnectionHandler) {
        do throws(ProtocolViolation) {
            let message = try WorkerMessage.decode(
                line,
                wantsTrace: self.server.demand.isTraceWanted
            )
            if connection.isGreeted {
                try self.received(message, from: connection)
            } else {
                try self.receivedFirst(message, from: connection)
            }
        } catch {
            self.broke(connection, error)
        }
    }

    private func receivedFirst(
        _ message: WorkerMessage,
        from connection: WorkerConnectionHandler
    ) throws(ProtocolViolation) {
        switch message {
        case .hello(.success(let hello)): self.greet(hello, connection)
        case .hello(.failure(let refusal)): self.reject(connection, refusal.code, refusal.message)
        case .bye: self.lose(connection)
        case .verdict, .error, .progress, .ping, .pong, .drain:
            throw ProtocolViolation(.unexpected_message, "before hello")
        }
    }

    private func greet(_ hello: WorkerHello, _ connection: WorkerConnectionHandler) {
        guard hello.pool == self.name else {
            return self.reject(
                connection,
                .pool_unknown,
                "this is the socket of pool \(self.name)"
            )
        }
        let now = self.server.nowNS
        let facts = PoolHello(hello, userID: connection.peer.userID)
        switch self.machine.helloReceived(from: connection.id, facts, now: now) {
        case .full: self.reject(connection, .pool_full, "too many workers")
        case .quarantined(let retryNS):
            let retry = Int64(clamping: retryNS / 1_000_000)
            self.reject(connection, .quarantined, "failed too often", retryMS: retry)
        case .welcome(let concurrency):
            connection.hello = hello
            FrontendLine.welcome(
                frontendID: self.server.configuration.id,
                version: GatepostVersion.text,
                hostname: self.server.configuration.hostname,
                connection: "w\(connection.id)",
                maximumFrameOctets: self.configuration.maximumFrameOctets,
                concurrency: concurrency,
                spool: self.server.spool.path,
                into: &connection.output
            )
            self.written(to: connection)
            self.log(
                .info,
                "a worker is ready",
                connection,
                ["plugins": "\(hello.plugins.joined(separator: " "))"]
            )
            self.machine.workerReady(connection.id, now: now, actions: &self.actions)
            self.workersChanged()
            self.perform()
        }
    }

    private func received(
        _ message: WorkerMessage,
        from connection: WorkerConnectionHandler
    ) throws(ProtocolViolation) {
        let now = self.server.nowNS
        switch message {
        case .hello: throw ProtocolViolation(.unexpected_message, "a second hello")
        case .verdict(let id, let result): self.answered(connection, id, result)
        case .error(let id, let started, let code, let plugin, let text):
            self.failed(connection, id, started: started, "\(code) \(plugin ?? "") \(text)")
        case .progress(let id, let hook, let extendMS):
            if let hook { self.wentAhead(connection, id, to: hook) }
            guard let extendMS else { return }
            let (extend, overflow) = UInt64(extendMS).multipliedReportingOverflow(by: 1_000_000)
            self.machine.progressed(
                on: connection.id,
                eventID: id,
                extendNS: overflow ? .max : extend
            )
        case .ping(let number):
            FrontendLine.pong(number, into: &connection.output)
            self.written(to: connection)
        case .pong: break
        case .drain(let reason):
            self.log(.info, "a worker drains", connection, ["reason": "\(reason)"])
            self.machine.drainRequested(by: connection.id, now: now, actions: &self.actions)
            self.workersChanged()
        case .bye(let code, let text):
            self.log(.info, "a worker says bye", connection, ["code": "\(code)", "why": "\(text)"])
            self.lose(connection)
        }
        self.perform()
    }

    private func answered(
        _ connection: WorkerConnectionHandler,
        _ id: Int64,
        _ result: Result<PolicyVerdict, ProtocolViolation>
    ) {
        let now = self.server.nowNS
        guard
            case .awaited(let ticket) = self.machine.answerReceived(
                from: connection.id,
                eventID: id
            ),
            let asker = self.askers.removeValue(forKey: ticket)
        else {
            return self.machine.answered(
                from: connection.id,
                eventID: id,
                now: now,
                actions: &self.actions
            )
        }
        var violation: ProtocolViolation?
        switch result {
        case .failure(let error): violation = error
        case .success(let verdict): violation = asker.judge(verdict)
        }
        if let violation {
            // The machine fails the ticket.
            self.askers[ticket] = asker
            let verdict = try? result.get()
            // A hook that it had not reached is not the one that it was asked about.
            let isReached = violation.code != .hook_not_reached
            let hook = (isReached ? verdict?.hook : nil) ?? asker.openHook
            let plugin = verdict?.plugin ?? violation.plugin
            self.logger.warning(
                "an invalid verdict",
                metadata: self.metadata(
                    connection,
                    [
                        "violation": "\(violation)", "plugin": "\(plugin ?? "")",
                        "hook": "\(hook?.rawValue ?? "")", "event": "\(id)",
                        "key": "\(String(decoding: asker.key, as: UTF8.self))",
                    ]
                )
            )
            if let hook { self.tell(connection, violation, id, hook, plugin) }
            self.machine.answered(
                from: connection.id,
                eventID: id,
                failure: .invalid_verdict,
                now: now,
                actions: &self.actions
            )
        } else if case .success(let verdict) = result {
            self.machine.answered(
                from: connection.id,
                eventID: id,
                now: now,
                actions: &self.actions
            )
            asker.poolDone(
                .answered(verdict, worker: connection.label),
                peerUserID: connection.peer.userID
            )
        }
    }

    /// What a worker's verdict names was not taken, so the verdict counts as a failure.
    func answerRefused(_ refusal: PolicySession.ReplacementRefusal) {
        self.machine.answerRefused(from: refusal.worker.connection)
        guard let connection = self.connections[refusal.worker.connection] else { return }
        self.tell(
            connection,
            refusal.violation,
            refusal.eventID,
            refusal.hook,
            refusal.plugin
        )
    }

    /// Tells a worker that asked for it what is wrong with its answer (protocol/verdicts.md).
    private func tell(
        _ connection: WorkerConnectionHandler,
        _ violation: ProtocolViolation,
        _ id: Int64,
        _ hook: Hook,
        _ plugin: String?
    ) {
        guard connection.hello?.wantsViolations ?? false else { return }
        FrontendLine.violation(
            violation,
            id: id,
            hook: hook,
            plugin: plugin,
            into: &connection.output
        )
        self.written(to: connection)
    }

    /// A worker begins with a hook that was ahead; if it was not, the verdict will not be taken.
    private func wentAhead(_ connection: WorkerConnectionHandler, _ id: Int64, to hook: Hook) {
        guard
            case .awaited(let ticket) = self.machine.answerReceived(
                from: connection.id,
                eventID: id
            ),
            self.askers[ticket]?.wentAhead(to: hook) ?? false
        else { return }
        self.machine.wentAhead(
            on: connection.id,
            eventID: id,
            to: hook.index,
            now: self.server.nowNS
        )
    }

    private func failed(
        _ connection: WorkerConnectionHandler,
        _ id: Int64,
        started: Bool,
        _ detail: String
    ) {
        let now = self.server.nowNS
        guard started else {
            return self.machine.notStarted(
                by: connection.id,
                eventID: id,
                now: now,
                actions: &self.actions
            )
        }
        self.log(
            .warning,
            "a worker could not answer",
            connection,
            ["error": "\(detail)", "event": "\(id)"]
        )
        self.machine.answered(
            from: connection.id,
            eventID: id,
            failure: .worker_error,
            now: now,
            actions: &self.actions
        )
    }

    /// The worker said something that ends its connection.
    func broke(_ connection: WorkerConnectionHandler, _ violation: ProtocolViolation) {
        guard !connection.isClosed else { return }
        guard connection.isGreeted else {
            return self.reject(connection, .bad_hello, violation.description)
        }
        self.log(.warning, "a worker broke the protocol", connection, ["violation": "\(violation)"])
        FrontendLine.bye(violation, into: &connection.output)
        self.lose(connection)
        self.perform()
    }

    func writabilityChanged(_ connection: WorkerConnectionHandler, isWritable: Bool) {
        self.machine.workerBlocked(
            connection.id,
            !isWritable,
            now: self.server.nowNS,
            actions: &self.actions
        )
        self.perform()
    }

    /// The connection is gone: the worker closed it, or the pool did.
    func disconnected(_ connection: WorkerConnectionHandler) {
        guard self.connections[connection.id] === connection else { return }
        if connection.isGreeted {
            let outstanding = self.machine.outstanding(on: connection.id)
            self.log(
                outstanding > 0 ? .warning : .notice,
                outstanding > 0 ? "a worker was lost" : "a worker left",
                connection,
                outstanding > 0
                    ? ["reason": "worker_lost", "outstanding": "\(outstanding)"]
                    : ["reason": "worker_left"]
            )
        }
        self.forget(connection, isDeath: true)
        self.perform()
    }

    /// Closes the connection; what it held is the machine's to place elsewhere.
    func lose(_ connection: WorkerConnectionHandler) {
        connection.close()
        self.forget(connection, isDeath: false)
    }

    /// Forgets it; after a death of its own what it held is suspect.
    private func forget(_ connection: WorkerConnectionHandler, isDeath: Bool) {
        guard self.connections.removeValue(forKey: connection.id) != nil else { return }
        self.lostLabels[connection.id] = connection.label
        let askers = self.askers
        self.machine.workerLost(
            connection.id,
            now: self.server.nowNS,
            isDeath: isDeath,
            fingerprint: { askers[$0]?.fingerprint ?? $0 },
            actions: &self.actions
        )
        self.workersChanged()
    }

    /// Puts what the workers registered where sessions look at it.
    func updateWants() {
        let wants = PoolWants(
            self.connections.values.compactMap(\.hello),
            asked: Hook.allCases.reduce(into: []) { asked, hook in
                if self.machine.isAsked(hook.index) { asked.insert(HookSet(hook)) }
            }
        )
        self.profile.update(wants, hasReadyWorker: self.machine.readyCount > 0)
    }

    func workersChanged() {
        self.updateWants()
        self.server.workersChanged()
        self.noteHooksOfNobody()
    }

    /// Says when hooks are asked that no worker serves, while others are there: that may be a worker
    /// that was renamed, or one that does not start.
    private func noteHooksOfNobody() {
        let hooks = self.machine.readyCount > 0 ? self.machine.hooksWithoutWorker : []
        guard hooks != self.hooksWithoutWorker else { return }
        self.hooksWithoutWorker = hooks
        guard !hooks.isEmpty else { return }
        self.logSparingly(
            .warning,
            "hooks are asked that no worker here serves; start it, or SIGHUP forgets what no worker names",
            ["pool": "\(self.name)", "hooks": "\(Self.words(hooks))", "reason": "no_worker"]
        )
    }
}
