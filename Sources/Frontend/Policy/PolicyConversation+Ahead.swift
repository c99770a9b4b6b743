import Configuration
import JSON
import PolicyPool
import PolicyProtocol

// MARK: - Hooks ahead

/// One event for hooks that follow each other without the client (protocol/README.md §6).
extension PolicyConversation {
    /// Writes the open question with the hooks ahead, and what the worker needs at any of them.
    ///
    /// - Returns: False, and nothing is written, if there are none any more, or it would not fit whole.
    func writeAhead(
        _ head: EventHead,
        _ question: Question,
        to addressee: EventAddressee,
        into writer: inout JSONWriter
    ) -> Bool {
        let pool = self.route[question.pool]
        // Workers may have come and gone since it was worked out.
        guard !question.ahead.isEmpty,
            question.ahead == self.hooksAhead(of: question.hook, in: pool)
        else { return false }
        let start = writer.octets.count
        if question.ahead.contains(.queue) { self.writeQueueArguments() }
        let all = EventAddressee(
            needs: pool.needs(at: question.hook, ahead: question.ahead),
            maximumFrameOctets: .max
        )
        _ = self.write(
            question.hook,
            args: question.ahead.contains(.queue)
                ? self.argumentsAhead.octets : self.arguments.octets,
            to: all,
            message: self.messagePath(for: pool, all.needs),
            into: &writer
        ) { writer in
            head.encode(key: self.key, into: &writer)
            writer.key("ahead")
            writer.beginObject()
            for next in question.hook.following where question.ahead.contains(next) {
                writer.key(next.word)
                writer.int(pool.policy(for: next).deadlineMS)
            }
            writer.endObject()
        }
        guard writer.octets.count - start <= addressee.maximumFrameOctets else {
            writer.truncate(to: start)
            return false
        }
        self.eventWritten(ahead: question.ahead)
        return true
    }

    /// The `args` of `queue`, which are those of all the hooks before it that may have it ahead.
    private func writeQueueArguments() {
        self.argumentsAhead.removeAll()
        self.argumentsAhead.beginObject()
        EventArguments.queueID(self.transaction?.id ?? "", into: &self.argumentsAhead)
        self.argumentsAhead.endObject()
    }

    /// The hooks that a worker of `pool` may go on to when it declines `hook`: those of the complete
    /// message, as long as nothing but this pool has a part in any of them (protocol/README.md §6).
    func hooksAhead(of hook: Hook, in pool: PolicyPool) -> HookSet {
        let following = hook.following
        guard !following.isEmpty, !pool.wants.ahead.isEmpty, pool.shadows.isEmpty,
            !self.server.isTraceWanted, !self.server.isObserved(.ok),
            self.isAlone(pool, at: hook)
        else { return [] }
        let onFailure = pool.policy(for: hook).onFailure
        var ahead: HookSet = []
        for next in following {
            guard self.isAlone(pool, at: next) else { break }
            guard pool.isAsked(next) else { continue }
            // Which of those before `queue`, which is announced, has failed is not always known.
            guard pool.wants.ahead.contains(next),
                next == .queue || pool.policy(for: next).onFailure == onFailure
            else { break }
            guard !self.isSuspect(at: next, in: pool) else { break }
            ahead.insert(HookSet(next))
        }
        return ahead
    }

    /// Whether a worker of `pool` died or hung with what this session would ask at `hook`: then that is
    /// asked by itself.
    private func isSuspect(at hook: Hook, in pool: PolicyPool) -> Bool {
        guard pool.machine.remembersPoison else { return false }
        // Hooks that come ahead have no arguments, but for those of `queue`, which do not count.
        let fingerprint = self.fingerprint(at: hook, arguments: Array("{}".utf8))
        return pool.machine.isSuspect(fingerprint, now: self.server.nowNS)
    }

    /// Whether nobody else is asked or told of `hook`.
    private func isAlone(_ pool: PolicyPool, at hook: Hook) -> Bool {
        !self.server.isObserved(hook)
            && self.route.allSatisfy { other in
                other === pool || !other.isAsked(hook) && !other.isShadowed(at: hook)
            }
    }
}
