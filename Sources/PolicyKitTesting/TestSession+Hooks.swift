public import PolicyKit

/// A plugin answered no verdict.
public struct TestFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// The plugin.
    public let plugin: String?
    /// What it said.
    public let description: String
}

extension TestSession {
    /// The client connects.
    ///
    /// - Returns: What the plugins answer together, as at each of these functions.
    /// - Throws: ``TestFailure`` if a plugin answered no verdict, as at each of these functions.
    @discardableResult
    public func connect() async throws -> Answer {
        try await self.ask(.connect)
    }

    /// The client encrypts the connection, and shows a certificate.
    ///
    /// - Parameters:
    ///   - fingerprint: SHA-256 of the certificate, 64 hexadecimal digits in lower case; `nil`: the client
    ///     shows none.
    ///   - keyFingerprint: The same of its public key.
    ///   - subject: The owner's name in the form of RFC 4514.
    ///   - isVerified: Whether an authority that the listener trusts vouches for it.
    public func encrypt(
        fingerprint: String?,
        keyFingerprint: String? = nil,
        subject: String? = nil,
        isVerified: Bool = false
    ) {
        let certificate = fingerprint.map {
            SessionSnapshot.ClientCertificate(
                isVerified: isVerified,
                subject: subject,
                issuer: nil,
                fingerprint: $0,
                keyFingerprint: keyFingerprint
            )
        }
        self.tls = SessionSnapshot.TLS(
            version: "TLSv1.3",
            cipher: nil,
            sni: nil,
            clientCertificate: certificate
        )
    }

    /// The client says HELO.
    @discardableResult
    public func helo(_ name: String) async throws -> Answer {
        self.hello = ("HELO", name)
        return try await self.ask(.helo, arguments: ["name": Bytes(name)])
    }

    /// The client says EHLO.
    @discardableResult
    public func ehlo(_ name: String) async throws -> Answer {
        self.hello = ("EHLO", name)
        return try await self.ask(.ehlo, arguments: ["name": Bytes(name)])
    }

    /// The client says AUTH.
    ///
    /// ```swift
    /// #expect(try await session.auth("jo", .password("right")) == .ok)
    /// let digest = LoginProof.cramMD5(password: "right", challenge: "<1@mx.example.org>")
    /// #expect(try await session.auth("jo", digest) == .ok)
    /// ```
    ///
    /// `ok` sets ``authentication`` and makes the client a relay client. If the login is refused for good,
    /// or all decline, ``failedLogins`` counts it. A login that goes on is answered `done`, with
    /// ``challenge``; its state belongs into the next ``LoginMessage``.
    ///
    /// - Parameters:
    ///   - user: Who the client says it is.
    ///   - proof: What proves it.
    ///   - mechanism: `nil`: `PLAIN` with a password, `CRAM-MD5` with a response, `SCRAM-SHA-256` with
    ///     a message.
    /// - Returns: What the plugins answer together.
    /// - Throws: ``TestFailure`` if a plugin answered no verdict.
    @discardableResult
    public func auth(
        _ user: Bytes,
        _ proof: LoginProof,
        mechanism: String? = nil
    ) async throws -> Answer {
        var arguments = ["user": user]
        var facts: [String: JSONValue] = [:]
        let usual: String
        switch proof {
        case .password(let password):
            usual = "PLAIN"
            arguments["password"] = password
        case .response(let response, let challenge):
            usual = "CRAM-MD5"
            arguments["response"] = response
            arguments["challenge"] = challenge
        case .message(let message):
            usual = "SCRAM-SHA-256"
            arguments["response"] = message.octets
            arguments["state"] = message.state
            facts["step"] = message.step.json
        }
        let name = mechanism ?? usual
        arguments["mechanism"] = Bytes(name)
        facts["failed"] = .object([
            "address": self.recentFailures.address.json, "user": self.recentFailures.user.json,
        ])
        self.challenge = nil
        let answer = try await self.ask(.auth, arguments: arguments, facts: facts)
        switch answer.verdict {
        case .ok:
            self.authentication = SessionSnapshot.Authentication(mechanism: name, user: user)
            self.relay = true
        case .declined, .deny, .deny_disconnect: self.failedLogins += 1
        case .denysoft, .denysoft_disconnect, .done: break
        }
        return answer
    }

    /// The client names the sender; an empty address is the null reverse-path.
    ///
    /// `parameters` are those of MAIL, as the client writes them: `BODY=8BITMIME`.
    @discardableResult
    public func mail(
        from address: String,
        parameters: [String] = []
    ) async throws -> Answer {
        self.resetTransaction()
        var sender = Sender(address: address)
        sender.params = parameters.map { text in
            let parts = text.split(separator: "=", maxSplits: 1)
            return ESMTPParameter(
                keyword: parts.first.map { $0.uppercased() } ?? "",
                value: parts.count > 1 ? Bytes(String(parts[1])) : nil
            )
        }
        self.sender = sender
        return try await self.ask(.mail, sender: sender)
    }

    /// The client names a recipient; it stays in the envelope if no plugin refuses.
    @discardableResult
    public func rcpt(to address: String) async throws -> Answer {
        let recipient = Recipient(id: Int64(self.recipients.count) + 1, address: address)
        let answer = try await self.ask(.rcpt, recipient: recipient)
        if answer.verdict == .ok {
            self.recipients = (self.recipients + [recipient]).withoutRepeats()
        }
        return answer
    }

    /// The client says DATA.
    @discardableResult
    public func data() async throws -> Answer {
        try await self.ask(.data)
    }

    /// The message arrives: its octets as they are, lines with CRLF.
    ///
    /// - Parameters:
    ///   - text: The whole message.
    ///   - hook: Which of the hooks from `data_headers_end` to `queue` is asked.
    /// - Returns: What the plugins answer together.
    /// - Throws: ``TestFailure`` if a plugin answered no verdict.
    @discardableResult
    public func message(_ text: String, at hook: Hook = .data_post) async throws -> Answer {
        try await self.message(Array(text.utf8), at: hook)
    }

    /// The message arrives: its octets as they are, lines with CRLF.
    ///
    /// - Parameters:
    ///   - octets: The whole message.
    ///   - hook: Which of the hooks from `data_headers_end` to `queue` is asked.
    /// - Returns: What the plugins answer together.
    /// - Throws: ``TestFailure`` if a plugin answered no verdict.
    @discardableResult
    public func message(_ octets: [UInt8], at hook: Hook = .data_post) async throws -> Answer {
        self.lastHeaderID = 0
        try self.take(octets)
        return try await self.ask(hook)
    }

    /// This is the message from here on; no id of the fields before is used again.
    private func take(_ octets: [UInt8]) throws {
        let message = TestMessage(octets, firstID: self.lastHeaderID + 1)
        try self.folder.write(message.octets, to: "spool/message")
        self.headers = message.fields
        self.lastHeaderID += Int64(message.fields.count)
        self.message = MessageReference(
            path: self.folder.path + "/spool/message",
            size: Int64(message.octets.count),
            bodyOffset: Int64(message.bodyOffset)
        )
    }

    /// The message that arrived goes on to another hook, with the edits so far.
    @discardableResult
    public func messageReached(_ hook: Hook) async throws -> Answer {
        try await self.ask(hook)
    }

    /// The client says VRFY, HELP or NOOP.
    @discardableResult
    public func command(_ hook: Hook, _ argument: String) async throws -> Answer {
        try await self.ask(hook, arguments: ["argument": Bytes(argument)])
    }

    /// The client says something that is no command.
    @discardableResult
    public func unrecognizedCommand(_ line: String) async throws -> Answer {
        let command = line.split(separator: " ").first.map { String($0) } ?? ""
        return try await self.ask(
            .unrecognized_command,
            arguments: ["command": Bytes(command), "line": Bytes(line)]
        )
    }

    /// The client says QUIT.
    @discardableResult
    public func quit() async throws -> Answer {
        try await self.ask(.quit)
    }

    /// Plugins are told what happened: `queue_post`, `reset_transaction`, `deny`, `ok`, `disconnect` or
    /// `status`.
    ///
    /// - Parameters:
    ///   - hook: The hook.
    ///   - facts: The event's `args`.
    /// - Throws: Never: what plugins throw here has no effect.
    public func notify(_ hook: Hook, _ facts: [String: JSONValue]) async throws {
        guard let chain = self.chains[hook] else { return }
        let picture = self.picture(hook, chain.needs, nil, nil, [:], facts)
        await chain.tell(HookContext(picture: picture, environment: self.environment))
    }

    /// The transaction ends: its notes, sender, recipients and message are gone.
    public func resetTransaction() {
        self.sender = nil
        self.recipients = []
        self.headers = []
        self.message = nil
        self.transactionNotes = [:]
    }

    private func ask(
        _ hook: Hook,
        sender: Sender? = nil,
        recipient: Recipient? = nil,
        arguments: [String: Bytes] = [:],
        facts: [String: JSONValue] = [:]
    ) async throws -> Answer {
        self.events += 1
        guard let chain = self.chains[hook] else { return .declined }
        let picture = self.picture(hook, chain.needs, sender, recipient, arguments, facts)
        let context = HookContext(picture: picture, environment: self.environment)
        let outcome = await chain.ask(context)
        await chain.tell(context)
        switch outcome {
        case .failed(let plugin, _, let message):
            throw TestFailure(plugin: plugin, description: message)

        case .answered(let answer, let plugin):
            if let violation = context.violation(of: answer) {
                throw TestFailure(plugin: plugin, description: "invalid verdict: \(violation)")
            }
            do {
                try self.apply(context)
            } catch {
                throw TestFailure(plugin: plugin, description: "\(error)")
            }
            return answer
        }
    }

    private var environment: EventEnvironment {
        EventEnvironment(
            logger: self.logger,
            nowMilliseconds: self.nowMilliseconds,
            deadline: .now + self.deadline,
            outFolder: self.folder.path + "/out"
        )
    }

    /// Does to the session what the frontend does with a verdict.
    private func apply(_ context: HookContext) throws {
        self.trace += context.ownTrace.map { TraceEntry($0) }
        self.sessionNotes = context.currentNotes(.session)
        self.transactionNotes = context.currentNotes(.transaction)
        if case .replaceMessage(let name)? = context.actions.first {
            try self.take(try self.folder.read("out/\(name)"))
        }
        let before = self.recipients
        let edited = context.edited(headers: self.headers, recipients: self.recipients)
        self.headers = edited.headers
        self.lastHeaderID = edited.headers.reduce(self.lastHeaderID) { max($0, $1.id) }
        self.recipients = edited.recipients
        for action in context.actions {
            switch action {
            case .setRelay(let value): self.relay = value
            case .setClientName(let name):
                self.clientName = name.flatMap { Bytes(octets: $0).string }
            case .replaceSender(let address): self.sender = Sender(AddressParts(cutting: address))
            case .delayReply(let milliseconds): self.delayMilliseconds = milliseconds
            case .replaceMessage(let path): self.replacementPath = path
            case .challenge(let octets, let state):
                self.challenge = (Bytes(octets: octets), Bytes(octets: state))
            case .refuseRecipient(let id, let verdict, let reply):
                let recipient = before.first { $0.id == Int64(id) }
                guard let recipient else { continue }
                self.refusedRecipients.append((recipient, Answer(verdict, reply)))
            default: break
            }
        }
    }
}
