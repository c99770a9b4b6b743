import PolicyProtocol

// What a chain's answer becomes on the wire.

extension HookContext {
    /// `answer` with everything that the plugins so far want changed.
    package func verdict(_ answer: Answer, id: Int64, plugin: String?) -> PolicyVerdict {
        var verdict = PolicyVerdict(id: id, verdict: answer.verdict)
        verdict.hook = self.isAhead ? self.hook : nil
        verdict.plugin = plugin
        verdict.reply = answer.reply
        if !self.sessionPatch.isEmpty { verdict.sessionNotes = .object(self.sessionPatch) }
        if !self.transactionPatch.isEmpty {
            verdict.transactionNotes = .object(self.transactionPatch)
        }
        verdict.actions = self.actions
        verdict.trace = self.ownTrace
        return verdict
    }

    /// What a frontend finds wrong with `answer` and what the chain wants changed, the header's ids
    /// apart; `nil` if nothing: for tests.
    package func violation(of answer: Answer) -> String? {
        var output = WorkerOutput()
        output.peerMaximumFrameOctets = 1_048_576
        let verdict = self.verdict(answer, id: 1, plugin: self.plugin)
        if let problem = output.write(verdict) { return problem }
        do throws(ProtocolViolation) {
            let line = Array(output.writer.octets.dropLast())
            guard case .verdict(_, let result) = try WorkerMessage.decode(line) else { return nil }
            return try result.get().violation(
                for: self.hook,
                hasTransaction: self.transaction != nil,
                allowsUTF8: false
            )?.description
        } catch {
            return error.description
        }
    }
}
