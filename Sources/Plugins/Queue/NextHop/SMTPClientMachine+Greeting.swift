extension SMTPClientMachine {
    // MARK: Greeting

    /// A refusal here is about us, not about the message: always an error, never an outcome.
    mutating func greetingReceived(_ reply: SMTPServerReply) -> Action {
        switch (self.phase, reply.replyClass) {
        case (.awaitingGreeting, 2):
            return self.hello()

        case (.saidEHLO, 2):
            self.capabilities = SMTPCapabilities(reply)
            return self.capabilitiesKnown()

        case (.saidEHLO, 5)
        where self.dialect == .smtp && (self.isEncrypted || self.encryption != .required):
            self.phase = .saidHELO
            return .write(Array("HELO \(self.name)\r\n".utf8))

        case (.saidEHLO, 5) where self.dialect == .smtp:
            return self.unencrypted("the hop knows no EHLO, and so no STARTTLS")

        case (.saidHELO, 2):
            return self.readyForLogin()

        case (_, _):
            self.phase = .closed
            return .fail(SMTPForwardError(.unreachable, "\(reply.code) in the greeting"))
        }
    }

    mutating func hello() -> Action {
        self.phase = .saidEHLO
        let verb =
            switch self.dialect {
            case .smtp: "EHLO"
            case .lmtp: "LHLO"
            }
        return .write(Array("\(verb) \(self.name)\r\n".utf8))
    }

    private mutating func capabilitiesKnown() -> Action {
        switch self.encryption {
        case .ifOffered where !self.isEncrypted && self.capabilities.hasSTARTTLS,
            .required where !self.isEncrypted && self.capabilities.hasSTARTTLS:
            self.phase = .saidSTARTTLS
            return .write(Array("STARTTLS\r\n".utf8))

        case .required where !self.isEncrypted:
            return self.unencrypted("the hop offers no STARTTLS")

        case .never, .ifOffered, .required, .implicit:
            return self.readyForLogin()
        }
    }

    /// The hop may refuse STARTTLS although it offers it: the connection goes on in clear text, where
    /// that will do.
    mutating func startTLSAnswered(_ reply: SMTPServerReply) -> Action {
        if reply.code == 220 {
            self.phase = .startingTLS
            return .startTLS
        }
        guard reply.replyClass > 3 else { return self.confused("to STARTTLS", reply) }
        if reply.code == 421 {
            self.phase = .closed
            return .fail(SMTPForwardError(.unreachable, "421 to STARTTLS"))
        }
        return self.encryption == .ifOffered
            ? self.readyForLogin() : self.unencrypted("\(reply.code) to STARTTLS")
    }

    // MARK: Login

    private mutating func readyForLogin() -> Action {
        guard let login = self.login else { return self.ready() }
        guard self.isEncrypted || login.isAllowedInClearText else {
            return self.notLoggedIn("the connection is not encrypted")
        }
        let offered = self.capabilities.mechanisms
        guard let exchange = login.exchange(offered, isEncrypted: self.isEncrypted) else {
            return self.notLoggedIn("the hop offers no AUTH by PLAIN, LOGIN or CRAM-MD5")
        }
        self.phase = .saidAuth(exchange)
        return .write(exchange.command)
    }

    /// The text of the reply goes into no error: it may repeat what was said.
    mutating func authAnswered(
        _ reply: SMTPServerReply,
        _ exchange: SMTPLogin.Exchange
    ) -> Action {
        var exchange = exchange
        if reply.code == 334, let response = exchange.response(to: reply) {
            self.phase = .saidAuth(exchange)
            return .write(response)
        }
        if reply.code == 235 { return self.ready() }
        if reply.code == 421 {
            self.phase = .closed
            return .fail(SMTPForwardError(.unreachable, "421 to AUTH"))
        }
        return self.notLoggedIn("\(reply.code) to AUTH \(exchange.mechanism.rawValue)")
    }

    private mutating func notLoggedIn(_ detail: String) -> Action {
        self.phase = .closed
        return .fail(SMTPForwardError(.login, detail))
    }

    private mutating func ready() -> Action {
        self.phase = .idle
        return .ready(self.capabilities)
    }

    private mutating func unencrypted(_ detail: String) -> Action {
        self.phase = .closed
        return .fail(SMTPForwardError(.encryption, detail))
    }
}
