import Octets

// AUTH: the client logs in.
extension SMTPSession {
    /// AUTH: asked about once the client has sent all that its mechanism wants.
    ///
    /// - Note: RFC 4954 §4.
    mutating func checkAuth(
        _ command: Command,
        _ octets: borrowing Span<UInt8>
    ) -> SMTPAction {
        if let reply = self.refusalOfAuth() { return self.refuse(reply) }
        guard self.meter.mayLogIn(self.configuration.limits) else {
            return self.close(StandardReplies.tooManyFailedLogins)
        }
        let argument = command.line.argument
        var nameEnd = argument.lowerBound
        while nameEnd < argument.upperBound, octets[nameEnd] != .space { nameEnd += 1 }
        let name = argument.lowerBound..<nameEnd
        guard !name.isEmpty else { return self.refuse(StandardReplies.authSyntax) }
        let mechanism: SMTPMechanism
        do {
            mechanism = try self.mechanism(named: name, octets)
        } catch {
            return self.refuse(error.reply)
        }
        var dialogue = AuthDialogue(mechanism, challenge: self.newChallenge(for: mechanism))
        var start = nameEnd
        while start < argument.upperBound, octets[start] == .space { start += 1 }
        let response = start..<argument.upperBound
        guard !response.isEmpty else {
            return self.beginDialogue(dialogue, challenge: dialogue.challenge)
        }
        guard !dialogue.beginsWithServer else {
            return self.refuse(StandardReplies.noInitialResponse)
        }
        // A single "=" is a message without octets (RFC 4954 §4).
        let isEmpty = response.count == 1 && octets[start] == .equals
        switch isEmpty ? dialogue.messageRead([]) : dialogue.messageRead(octets, response) {
        case .challenge(let reply): return self.beginDialogue(dialogue, challenge: reply)
        case .ask(let open, let question): return self.ask(open, question, of: dialogue)
        case .refuse(let reply): return self.refuse(reply)
        }
    }

    private func refusalOfAuth() -> SMTPReply? {
        guard !self.configuration.mechanisms.isEmpty else { return StandardReplies.authNotOffered }
        guard !self.security.isAuthenticated else { return StandardReplies.alreadyAuthenticated }
        return switch self.phase.stage {
        case .greeted: nil
        case .inTransaction, .betweenChunks: StandardReplies.authInTransaction
        case .connected, nil: self.configuration.helloFirst
        }
    }

    /// The mechanism in `name`, or the reply to one that is not offered, or not yet.
    private func mechanism(
        named name: Range<Int>,
        _ octets: borrowing Span<UInt8>
    ) throws(SMTPRefusal) -> SMTPMechanism {
        guard let mechanism = SMTPMechanism(in: octets, name),
            self.configuration.mechanisms.contains(mechanism)
        else { throw SMTPRefusal(StandardReplies.unknownMechanism) }
        guard self.configuration.offers(mechanism, in: self.security) else {
            throw SMTPRefusal(
                self.security.isEncrypted
                    ? StandardReplies.unknownMechanism : StandardReplies.authNeedsEncryption
            )
        }
        return mechanism
    }

    /// `<nonce.n@host>`, never the same twice; empty for mechanisms without one.
    ///
    /// - Note: RFC 2195 §2.
    private mutating func newChallenge(for mechanism: SMTPMechanism) -> [UInt8] {
        guard mechanism == .cramMD5 else { return [] }
        self.challengeCount += 1
        return [UInt8(ascii: "<")] + self.challengeNonce + Array(".\(self.challengeCount)@".utf8)
            + self.configuration.hostname + [UInt8(ascii: ">")]
    }

    /// Policy refused a login.
    mutating func loginRefused(_ reply: SMTPReply) {
        // A temporary refusal says nothing of the client.
        if reply.code.isPermanent { self.meter.loginFailed() }
    }
}
