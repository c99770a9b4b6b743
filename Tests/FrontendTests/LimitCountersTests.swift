import PolicyCore
import SMTPCore
import Testing

@testable import Frontend

/// What `status` says of limits (protocol/events.md).
@Suite struct LimitCountersTests {
    /// The counts that are not 0, as `member.key`.
    private static func counts(_ counters: LimitCounters) -> [String: UInt64] {
        var found: [String: UInt64] = [:]
        for (member, counts) in counters.named {
            for (key, count) in counts where count > 0 { found["\(member).\(key)"] = count }
        }
        return found
    }

    @Test func `what ended a session has the key of its limit`() {
        let replies: [(SMTPReply, String)] = [
            (StandardReplies.tooManyErrors, "max_errors"),
            (StandardReplies.tooManyUnrecognized, "max_unrecognized"),
            (StandardReplies.tooManyNoops, "max_noop"),
            (StandardReplies.tooManyWithoutMessage, "max_commands_without_message"),
            (StandardReplies.tooManyRefusedRecipients, "max_refused_recipients"),
            (StandardReplies.tooManyCommands, "max_commands_per_session"),
            (StandardReplies.tooManyTransactions, "max_transactions"),
            (StandardReplies.tooManyFailedLogins, "max_auth_failures"),
            (StandardReplies.otherProtocol, "other_protocol"),
            (StandardReplies.contentBeforeReply, "smuggling"),
            (StandardReplies.octetsBehindStartTLS, "smuggling"),
            (StandardReplies.bareNewlineInMessage, "smuggling"),
            (StandardReplies.bareLineFeedInCommand, "smuggling"),
        ]
        for (reply, key) in replies {
            let ending = LimitCounters.Ending(
                excess: nil,
                closingReply: reply,
                end: SessionEnd(closedBy: reply)
            )
            #expect(ending.map { "\($0.key)" } == key)
        }
        for excess in [ClientBudgets.Excess.command, .envelope, .data, .dataRate, .commandRate] {
            // The reply to three of them is the one of a timeout.
            let ending = LimitCounters.Ending(
                excess: excess,
                closingReply: excess.reply,
                end: SessionEnd(closedBy: excess.reply)
            )
            #expect(ending.map { "\($0.key)" } == excess.rawValue)
        }
        let silent = LimitCounters.Ending(excess: nil, closingReply: nil, end: .timeout)
        #expect(silent == .timeout)
    }

    @Test func `the client, policy and a stop are no limit`() {
        let ends: [(SMTPReply?, SessionEnd)] = [
            (nil, .quit), (nil, .client_gone), (StandardReplies.connectDenied, .refused),
            (StandardReplies.shuttingDown, .shutdown), (StandardReplies.internalError, .error),
        ]
        for (reply, end) in ends {
            #expect(LimitCounters.Ending(excess: nil, closingReply: reply, end: end) == nil)
        }
    }

    @Test func `no key is used twice`() {
        for (_, counts) in LimitCounters().named {
            #expect(Set(counts.map { "\($0.key)" }).count == counts.count)
        }
    }

    @Test func `the sum of two loops is each count added`() {
        var first = LimitCounters()
        first.sessionRefused(.tooManySessions)
        first.sessionEnded(by: .errors)
        first.handshakeDone()
        first.loginFailed()
        var second = LimitCounters()
        second.sessionRefused(.tooManySessions)
        second.sessionRefused(.memoryUsedUp)
        second.sessionEnded(by: .smuggling)
        second.handshakeDone()
        second.handshakeFailed()
        second.loginFailed()
        second += first
        #expect(
            Self.counts(second) == [
                "refused.max_sessions": 2, "refused.memory_octets": 1, "ended.max_errors": 1,
                "ended.smuggling": 1, "handshakes.done": 2, "handshakes.failed": 1,
                "logins.failed": 2,
            ]
        )
    }

    @Test func `a session that ends is counted once`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        try connection.send("GET / HTTP/1.1\r\n")
        _ = try connection.replies()
        connection.handler.endNow(.client_gone)
        connection.handler.sessionOver()
        connection.handler.sessionOver()
        #expect(Self.counts(connection.server.limitCounters) == ["ended.other_protocol": 1])
    }
}
