import Logging
import PolicyCore
import PolicyProtocol
import SMTPCore
import ServiceLog

/// What the log says of a session.
extension SMTPSessionHandler {
    /// SMTP itself refused a command; `line` is what the client sent.
    func commandRefused(_ reply: SMTPReply, line: some Collection<UInt8>) {
        self.summary.refused(
            reply,
            line: line,
            in: self.policy.transactionID,
            facts: self.policy.facts,
            log: (self.server.logger, self.server.nowMS)
        )
    }

    func log(_ refusal: PolicySession.Refusal) {
        self.summary.refused(
            refusal,
            in: self.policy.transactionID,
            facts: self.policy.facts,
            log: (self.server.logger, self.server.nowMS)
        )
    }

    func log(_ refusal: PolicySession.ReplacementRefusal) {
        let pool = self.pools[refusal.pool]
        pool.answerRefused(refusal)
        pool.logSparingly(
            .warning,
            "a worker's replacement message was refused",
            [
                "session": "\(self.sessionID)", "transaction": "\(self.transactionID ?? "")",
                "pool": "\(pool.name)", "worker": "\(refusal.worker)",
                "plugin": "\(refusal.plugin ?? "")", "hook": "\(refusal.hook.rawValue)",
                "file": "\(refusal.path)", "violation": "\(refusal.violation)",
            ]
        )
    }

    func log(_ failure: SpoolFailure, at hook: Hook, in pool: WorkerPool) {
        pool.logSparingly(
            .error,
            "a message could not be kept, its client gets 451 or 452",
            [
                "session": "\(self.sessionID)", "transaction": "\(self.transactionID ?? "")",
                "pool": "\(pool.name)", "hook": "\(hook.rawValue)",
                "reason": "message_lost", "error": "\(failure)",
            ]
        )
    }
}
