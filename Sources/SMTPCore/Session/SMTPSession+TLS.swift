// STARTTLS, and what has to be encrypted or authenticated.

extension SMTPSession {
    /// STARTTLS: granted without asking policy; a handshake follows the reply.
    ///
    /// Octets that follow the command in clear text could have been put there by an attacker on the way
    /// and would be read after the handshake as if the client had sent them: the session ends.
    ///
    /// - Note: RFC 3207 §4, §4.2.
    mutating func checkStartTLS(_ command: Command) -> SMTPAction {
        if let reply = self.refusalOfStartTLS(command) { return self.refuse(reply) }
        guard !command.hasMore else { return self.close(StandardReplies.octetsBehindStartTLS) }
        guard self.phase.handshakeBegun() else {
            return self.close(StandardReplies.internalError)
        }
        return .startTLS(StandardReplies.readyToStartTLS)
    }

    private func refusalOfStartTLS(_ command: Command) -> SMTPReply? {
        guard !self.security.isEncrypted else { return StandardReplies.alreadyEncrypted }
        guard self.configuration.extensions(in: self.security).contains(.startTLS) else {
            return StandardReplies.startTLSNotOffered
        }
        guard command.line.argument.isEmpty else { return StandardReplies.noArgumentAllowed }
        return switch self.phase.stage {
        case .greeted, .inTransaction, .betweenChunks: nil
        case .connected, nil: self.configuration.helloFirst
        }
    }

    /// The TLS handshake is done: after STARTTLS, or before the greeting.
    ///
    /// After STARTTLS the client has to greet again, and a transaction is over. The counters stay.
    ///
    /// - Parameter isBound: Whether a login can be bound to the certificate that the client was shown.
    /// - Returns: False, and nothing changes, if no handshake was due.
    package mutating func encrypted(isBound: Bool = false) -> Bool {
        guard self.phase.handshakeDone() else { return false }
        self.security = SMTPSecurity(isEncrypted: true, isBound: isBound)
        self.futureRelease = nil
        self.lineScanner = Self.newLineScanner(self.configuration)
        return true
    }

    /// The reply to a command that wants what the client has not done yet; `nil` if nothing is missing.
    ///
    /// - Note: RFC 3207 §4 (what is allowed before STARTTLS); RFC 4954 §6.
    func refusalOfUnmet(_ verb: SMTPVerb?) -> SMTPReply? {
        let requirements = self.configuration.requirements
        guard !requirements.isEmpty else { return nil }
        if requirements.contains(.encryption), !self.security.isEncrypted {
            switch verb {
            // BDAT is out of order, for there was no MAIL; what SMTP does not know is refused as that.
            case .ehlo, .lhlo, .noop, .quit, .starttls, .bdat, nil: break
            case .helo, .mail, .rcpt, .data, .rset, .vrfy, .expn, .help, .auth, .xclient,
                .xforward:
                return StandardReplies.encryptionRequired
            }
        }
        if requirements.contains(.authentication), !self.security.isAuthenticated {
            switch verb {
            case .mail, .vrfy, .expn: return StandardReplies.authenticationRequired
            case .ehlo, .helo, .lhlo, .rcpt, .data, .bdat, .rset, .noop, .help, .quit, .auth,
                .starttls,
                .xclient, .xforward, nil:
                break
            }
        }
        return nil
    }
}

// MARK: - The phase

extension SMTPPhase {
    /// STARTTLS was granted: the client sends a handshake next.
    ///
    /// `false`, and nothing changes, unless a command was being waited for.
    mutating func handshakeBegun() -> Bool {
        guard self.commandStage != nil else { return false }
        self = .listening(.handshake)
        return true
    }

    /// The connection is encrypted: commands are read as after the greeting, or it is still to be
    /// opened.
    ///
    /// `false`, and nothing changes, if no handshake was due.
    mutating func handshakeDone() -> Bool {
        guard !self.isUnopened else { return true }
        guard self.wait == .handshake else { return false }
        self = .listening(.commands(.connected))
        return true
    }
}
