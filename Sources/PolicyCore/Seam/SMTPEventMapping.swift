import PolicyProtocol
package import SMTPCore

/// The seam: what a policy decision means in SMTP.
///
/// The only file that knows both SMTP and the protocol. Reply codes are those of protocol/verdicts.md; where a
/// worker wrote a reply its text and codes are used, else the standard reply of the table below.
enum SMTPEventMapping {
    /// What the session machine is told about `hook`.
    ///
    /// Reply text beyond ASCII may be sent where `allowsUTF8` is true (RFC 6531 §3.7.4).
    static func outcome(
        of decision: PolicyDecision,
        at hook: Hook,
        in configuration: SMTPConfiguration,
        allowsUTF8: Bool
    ) -> SMTPOutcome {
        switch decision.outcome {
        case .undecided: self.undecided(at: hook)
        case .failed(let policy, _): self.failure(policy, at: hook)
        case .spoolFailed(let error): .refused(self.reply(to: error))
        case .verdict(let verdict, let reply):
            self.outcome(
                of: verdict,
                reply: reply,
                at: hook,
                in: configuration,
                allowsUTF8: allowsUTF8
            )
        }
    }

    /// All plugins declined: consent, but not at `rcpt`, where it would open a relay, nor at
    /// `queue`, where it would lose a message, nor at `auth`, where it would let everybody in.
    private static func undecided(at hook: Hook) -> SMTPOutcome {
        switch hook {
        case .rcpt: .refused(StandardReplies.recipientUndecided)
        case .queue: .refused(StandardReplies.queueUndecided)
        case .auth: .refused(StandardReplies.loginDenied)
        default: .granted(nil)
        }
    }

    /// The reply to a message that a worker took without wording the reply.
    static func queued(_ id: String) -> SMTPReply {
        SMTPReply(
            code: StandardReplies.messageAccepted.code,
            status: StandardReplies.messageAccepted.status,
            cause: .none,
            escaping: Array("Queued as \(id)".utf8)
        )
    }

    /// Our disk is full or broken; the message stays with its client.
    static func reply(to failure: SpoolFailure) -> SMTPReply {
        failure.isDiskFull ? StandardReplies.spoolFull : StandardReplies.spoolFailed
    }

    /// A pool could not answer (protocol/failure.md).
    private static func failure(
        _ policy: FailurePolicy,
        at hook: Hook
    ) -> SMTPOutcome {
        switch (policy, hook) {
        case (.skip, _): self.undecided(at: hook)
        // A client that leaves, or asks for help, is answered whatever happens.
        case (_, .quit), (_, .noop), (_, .help): .granted(nil)
        case (.tempfail, .connect): .refusedThenClose(StandardReplies.policyFailedClosing)
        case (.reject, .connect): .refusedThenClose(StandardReplies.policyFailedDenied)
        case (.tempfail, .auth): .refused(StandardReplies.policyFailedLogin)
        case (.tempfail, _): .refused(StandardReplies.policyFailed)
        case (.reject, _): .refused(StandardReplies.policyFailedDenied)
        }
    }

    private static func outcome(
        of verdict: Verdict,
        reply: PolicyReply?,
        at hook: Hook,
        in configuration: SMTPConfiguration,
        allowsUTF8: Bool
    ) -> SMTPOutcome {
        guard let standard = self.standardReply(for: verdict, at: hook) else {
            let worded = self.granting(reply, at: hook, in: configuration, allowsUTF8: allowsUTF8)
            let isVerified = hook == .vrfy && verdict == .ok
            return .granted(worded ?? (isVerified ? StandardReplies.ok : nil))
        }
        let worded = reply.flatMap { self.reply($0, basedOn: standard, allowsUTF8: allowsUTF8) }
        let closes =
            verdict == .deny_disconnect || verdict == .denysoft_disconnect || hook == .connect
        if verdict == .done, let worded, worded.code.rawValue < 400 { return .granted(worded) }
        return closes ? .refusedThenClose(worded ?? standard) : .refused(worded ?? standard)
    }

    /// What the client is told of a single recipient that a worker refuses with `deny` or `denysoft`.
    static func refusal(
        _ verdict: Verdict,
        _ reply: PolicyReply?,
        at hook: Hook,
        allowsUTF8: Bool
    ) -> SMTPReply {
        let standard = verdict == .deny ? self.denied(at: hook) : self.deferred(at: hook)
        return reply.flatMap { self.reply($0, basedOn: standard, allowsUTF8: allowsUTF8) }
            ?? standard
    }

    /// What becomes of a message of which single recipients were refused (protocol/verdicts.md).
    ///
    /// `outcome` is that of the others. A refusal that closes the session is for all.
    static func outcome(
        _ outcome: SMTPOutcome,
        of transaction: MailTransaction
    ) -> SMTPOutcome {
        guard let worst = transaction.worstRefusal else { return outcome }
        let reply: SMTPReply
        switch outcome {
        case .granted(let granted): reply = granted ?? StandardReplies.messageAccepted
        case .refused(let refused): reply = refused
        case .refusedThenClose, .answeredEach, .challenged: return outcome
        }
        if transaction.isHeardEach { return .answeredEach(transaction.replies(reply)) }
        // Of two refusals one for now counts more: only then the message comes again.
        if case .refused = outcome, !(worst.verdict == .denysoft && reply.code.isPermanent) {
            return outcome
        }
        return .refused(worst.reply)
    }

    /// The standard refusal; `nil` for a verdict that grants.
    private static func standardReply(for verdict: Verdict, at hook: Hook) -> SMTPReply? {
        switch verdict {
        case .declined, .ok: nil
        case .deny: self.denied(at: hook)
        case .denysoft: self.deferred(at: hook)
        case .deny_disconnect: self.deniedClosing(at: hook)
        case .denysoft_disconnect: StandardReplies.deferredClosing
        case .done: self.base(ofDoneAt: hook)
        }
    }

    private static func denied(at hook: Hook) -> SMTPReply {
        switch hook {
        case .connect: StandardReplies.connectDenied
        case .helo, .ehlo: StandardReplies.helloDenied
        case .auth: StandardReplies.loginDenied
        case .mail: StandardReplies.mailDenied
        case .rcpt: StandardReplies.recipientDenied
        case .queue: StandardReplies.queueDenied
        case .vrfy: StandardReplies.verifyDenied
        case .help: StandardReplies.helpDenied
        case .noop: StandardReplies.noopDenied
        case .unrecognized_command: StandardReplies.unrecognizedCommand
        default: StandardReplies.dataDenied
        }
    }

    private static func deferred(at hook: Hook) -> SMTPReply {
        switch hook {
        case .connect: StandardReplies.connectDeferred
        case .helo, .ehlo: StandardReplies.helloDeferred
        case .auth: StandardReplies.loginDeferred
        case .mail: StandardReplies.mailDeferred
        case .rcpt: StandardReplies.recipientDeferred
        case .queue: StandardReplies.queueDeferred
        case .vrfy: StandardReplies.verifyDeferred
        case .unrecognized_command: StandardReplies.unrecognizedDeferred
        default: StandardReplies.dataDeferred
        }
    }

    private static func deniedClosing(at hook: Hook) -> SMTPReply {
        switch hook {
        case .connect: StandardReplies.connectDenied
        case .auth: StandardReplies.loginDeniedClosing
        case .noop: StandardReplies.noopDeniedClosing
        case .unrecognized_command: StandardReplies.unrecognizedClosing
        case .data, .data_headers_end, .data_post, .queue: StandardReplies.dataDeniedClosing
        default: StandardReplies.deniedClosing
        }
    }

    /// What `done` starts from; its reply is never missing, protocol/verdicts.md sees to that.
    private static func base(ofDoneAt hook: Hook) -> SMTPReply {
        switch hook {
        case .quit: StandardReplies.closing
        // A verdict with a challenge never comes here, and one without it is no login.
        case .auth: StandardReplies.policyFailedLogin
        case .data_post, .queue_pre: StandardReplies.messageAccepted
        default: StandardReplies.ok
        }
    }

    // MARK: - Replies that workers word

    /// A reply of the worker's for a verdict that grants; `nil` uses the standard one.
    ///
    /// The greeting and the answers to HELO and EHLO begin with our name, whatever the worker says. Of
    /// the answer to EHLO the SMTP session keeps the first line, and adds the keywords.
    private static func granting(
        _ reply: PolicyReply?,
        at hook: Hook,
        in configuration: SMTPConfiguration,
        allowsUTF8: Bool
    ) -> SMTPReply? {
        guard let reply else { return nil }
        let text = reply.text.map { Array($0.utf8) }
        let standard: SMTPReply
        switch hook {
        case .connect:
            guard !text.isEmpty else { return nil }
            return .greeting(
                hostname: configuration.hostname,
                text: text,
                isLMTP: configuration.isLMTP
            )
        case .helo, .ehlo:
            return .helo(hostname: configuration.hostname, text: text)
        case .auth: standard = StandardReplies.authenticated
        case .mail: standard = StandardReplies.senderAccepted
        case .rcpt: standard = StandardReplies.recipientAccepted
        case .data: standard = StandardReplies.startMailInput
        case .queue: standard = StandardReplies.messageAccepted
        case .vrfy, .noop: standard = StandardReplies.ok
        case .help: standard = StandardReplies.help
        case .quit: standard = StandardReplies.closing
        case .unrecognized_command: standard = StandardReplies.unrecognizedCommand
        case .data_headers_end, .received_line, .data_post_headers, .data_post, .queue_pre,
            .queue_post, .reset_transaction, .disconnect, .ok, .deny, .status:
            return nil
        }
        return self.reply(reply, basedOn: standard, allowsUTF8: allowsUTF8)
    }

    /// - Returns: `nil` when it says nothing of its own, or nothing that can be sent: the standard
    ///   reply is sent then.
    private static func reply(
        _ reply: PolicyReply,
        basedOn standard: SMTPReply,
        allowsUTF8: Bool
    ) -> SMTPReply? {
        let code = reply.code.flatMap { ReplyCode(rawValue: UInt16(clamping: $0)) } ?? standard.code
        let status =
            reply.status.flatMap { EnhancedStatusCode(octets: Array($0.utf8).span) }
            ?? standard.status
        // RFC 2034 §4: a status of the code's class; there is none of 3yz.
        let agreeing =
            status.flatMap { $0.agrees(with: code) ? $0 : nil }
            ?? EnhancedStatusCode(Int(code.rawValue / 100), 0, 0)
        guard !reply.text.isEmpty else {
            let isStandard = code == standard.code && agreeing == standard.status
            return isStandard ? nil : standard.with(code: code, status: agreeing)
        }
        return try? SMTPReply(
            policy: code,
            status: agreeing,
            text: reply.text.map { Array($0.utf8) },
            allowsUTF8: allowsUTF8
        )
    }
}

extension SessionEnd {
    /// How a session ends that the frontend closes after `reply`.
    package init(closedBy reply: SMTPReply) {
        guard reply.code.rawValue != 221 else {
            self = .quit
            return
        }
        switch reply.cause {
        case .policy, .policyDefault, .policyFailure, .undecided: self = .refused
        case .timeout: self = .timeout
        case .shuttingDown: self = .shutdown
        case .none, .unrecognizedCommand, .notImplemented, .notOffered, .encryptionRequired,
            .authenticationRequired, .badSequence, .badSyntax, .badAddress, .badParameter,
            .bareNewline, .nulInCommand, .nulInMessage, .lineTooLong, .messageTooBig,
            .headerTooBig, .tooManyHops, .tooManyRecipients, .tooManyErrors, .tooManyTransactions,
            .tooManySessions, .systemFailure, .internalError:
            self = .error
        }
    }
}
