import JSON
import PolicyProtocol
package import SMTPCore

// MARK: - Questions of SMTP

extension PolicySession {
    /// SMTP asks, and parses nothing until it is answered.
    ///
    /// For `headersEnd` and `message` tell `headerRead` and `messageRead` before. `now` is monotonic
    /// nanoseconds; `unixMS`, the time in Unix milliseconds, is needed at MAIL with HOLDFOR alone. Where
    /// `isMemoryUsedUp` is true no transaction begins, and where `logins` has an excess no pool is asked at AUTH.
    package mutating func asked(
        _ question: SMTPQuestion,
        now: UInt64,
        unixMS: Int64 = 0,
        isMemoryUsedUp: Bool = false,
        logins: LoginHistory = LoginHistory(),
        _ actions: inout [Action]
    ) {
        self.isVerifyUTF8 = false
        switch question {
        case .connect: self.ask(.connect, now, &actions, args: EventArguments.none)
        case .helo(let name): self.askHello("HELO", .helo, name, now, &actions)
        case .ehlo(let name):
            self.askHello(self.smtp.isLMTP ? "LHLO" : "EHLO", .ehlo, name, now, &actions)
        case .auth(let credentials):
            self.askLogin(credentials, logins, now, &actions)
        case .mail(let path, let parameters):
            let sender = EnvelopeAddress(path, parameters.all)
            self.transactionProposed(parameters, nowMS: unixMS)
            self.proposal = .sender(sender)
            guard !isMemoryUsedUp else {
                return self.refuse(StandardReplies.memoryUsedUp, at: .mail, &actions)
            }
            // A worker has come since EHLO that might release the message at once.
            guard parameters.futureRelease == nil || !self.mayReleaseEarly else {
                return self.refuse(StandardReplies.policyFailed, at: .mail, &actions)
            }
            self.ask(.mail, now, &actions) { EventArguments.sender(sender, into: &$0) }
        case .rcpt(let path, let parameters):
            self.askRecipient(EnvelopeAddress(path, parameters), now, &actions)
        case .data: self.ask(.data, now, &actions, args: EventArguments.none)
        case .headersEnd: self.askHeadersEnd(now, &actions)
        case .message: self.askMessageHook(.received_line, now, &actions)
        case .vrfy(let argument, let isSMTPUTF8):
            self.isVerifyUTF8 = isSMTPUTF8
            self.ask(.vrfy, now, &actions) { EventArguments.argument(argument, into: &$0) }
        case .help(let argument):
            self.ask(.help, now, &actions) { EventArguments.argument(argument, into: &$0) }
        case .noop(let argument):
            self.ask(.noop, now, &actions) { EventArguments.argument(argument, into: &$0) }
        case .quit: self.ask(.quit, now, &actions, args: EventArguments.none)
        case .unrecognized(let command, let line):
            self.ask(.unrecognized_command, now, &actions) {
                EventArguments.unrecognized(command: command, line: line, into: &$0)
            }
        }
    }

    private mutating func askHello(
        _ verb: String,
        _ hook: Hook,
        _ name: [UInt8],
        _ now: UInt64,
        _ actions: inout [Action]
    ) {
        self.proposal = .hello(before: self.facts.hello)
        self.facts.hello = (verb, name)
        self.ask(hook, now, &actions) { EventArguments.name(name, into: &$0) }
    }

    /// The proof goes to the workers that are asked, by ``writeEvent(_:to:_:isSuspect:into:)``; nothing
    /// else has it.
    private mutating func askLogin(
        _ credentials: SMTPCredentials,
        _ history: LoginHistory,
        _ now: UInt64,
        _ actions: inout [Action]
    ) {
        switch history.excess {
        case .none:
            self.proposal = .login(credentials, history)
            var pool = 0
            if case .message(_, let step) = credentials.proof, step > 1, let exchange {
                pool = exchange.pool
                guard self.route[pool].isAsked(.auth) else {
                    return self.refuse(StandardReplies.policyFailedLogin, at: .auth, &actions)
                }
            } else {
                self.exchange = nil
            }
            self.ask(.auth, now, &actions, from: pool) {
                EventArguments.credentials(credentials, history, into: &$0)
            }

        case .address: self.refuse(StandardReplies.tooManyFailedLogins, at: .auth, &actions)
        case .user: self.refuse(StandardReplies.tooManyFailedLoginsOfUser, at: .auth, &actions)
        }
    }

    private mutating func askRecipient(
        _ address: EnvelopeAddress,
        _ now: UInt64,
        _ actions: inout [Action]
    ) {
        self.transaction?.propose(address)
        self.proposal = .recipient(address.address)
        guard let candidate = self.transaction?.candidate else {
            return self.decided(.undecided, at: .rcpt, now, &actions)
        }
        self.ask(.rcpt, now, &actions) { EventArguments.recipient(candidate, into: &$0) }
    }

    private mutating func askHeadersEnd(_ now: UInt64, _ actions: inout [Action]) {
        guard self.fitsHeaderAtQueue else {
            return self.refuse(StandardReplies.headerTooBig, at: .data_headers_end, &actions)
        }
        self.ask(.data_headers_end, now, &actions, args: EventArguments.none)
    }

    /// Tells observers of `hook`, then asks every pool in turn about it.
    ///
    /// `args` writes the members of the `args` object; it is not called when no worker listens. `pool`
    /// is the place in the route of the first that is asked.
    mutating func ask(
        _ hook: Hook,
        _ now: UInt64,
        _ actions: inout [Action],
        from pool: Int = 0,
        args: (inout JSONWriter) -> Void
    ) {
        if self.demand.observed.contains(hook) { self.notify(hook, &actions, args: args) }
        guard self.demand.asked.contains(hook) else {
            return self.decided(.undecided, at: hook, now, &actions)
        }
        self.arguments.removeAll()
        self.arguments.beginObject()
        args(&self.arguments)
        self.arguments.endObject()
        self.questionCount += 1
        self.writeKey()
        if self.demand.isTraceWanted { self.questionTrace = PolicyTrace() }
        let question = Question(hook: hook, writtenHook: hook, askedNS: now, pool: pool)
        self.askNextPool(question, now, &actions)
    }

    /// `TRANSACTION.qN`, or `SESSION.qN` where there is no transaction.
    private mutating func writeKey() {
        self.key.removeAll(keepingCapacity: true)
        self.key.append(contentsOf: (self.transaction?.id ?? self.facts.id).utf8)
        self.key.append(UInt8(ascii: "."))
        self.key.append(UInt8(ascii: "q"))
        self.key.appendDecimal(self.questionCount)
    }

    /// The client sent octets before it had the reply that it had to wait for (RFC 5321 §4.3.1).
    package mutating func clientTalkedEarly() { self.facts.isEarlyTalker = true }

    /// The connection is encrypted: the client has to greet again, and a transaction is over.
    ///
    /// - Note: RFC 3207 §4.2.
    package mutating func encrypted(_ tls: TLSFacts, _ actions: inout [Action]) {
        self.facts.tls = tls
        self.facts.hello = nil
        self.facts.forgetForwarded()
        if let login = self.facts.login {
            self.facts.isRelay = login.wasRelay
            self.facts.login = nil
        }
        if self.isInTransaction {
            self.endTransaction("starttls", decider: nil, reply: nil, &actions)
        }
    }

    /// A proxy named the client that it speaks for: before `connect` is asked, or instead of the client
    /// that was asked about.
    ///
    /// What was known of the client before is forgotten, the notes too. Tell it between questions and
    /// outside a transaction; at another time nothing changes.
    ///
    /// - Parameters:
    ///   - client: The client that the proxy speaks for.
    ///   - server: What that client connected to; `nil` leaves what this connection came to.
    ///   - proxy: The other end of this connection.
    ///   - name: The client's host name; `nil` if the proxy does not tell one.
    ///   - user: Who the client proved to be, as the proxy says; it may relay then, as after AUTH.
    package mutating func clientReplaced(
        by client: Peer,
        server: Peer?,
        proxy: Peer,
        name: String? = nil,
        user: [UInt8]? = nil
    ) {
        guard self.isIdle, !self.isInTransaction else { return }
        self.facts.clientReplaced(by: client, server: server, proxy: proxy)
        self.facts.clientName = name
        if let user {
            self.facts.login = LoginFacts(mechanism: "XCLIENT", user: user, wasRelay: false)
            self.facts.isRelay = true
        }
        self.notes = PolicyNotes()
    }

    /// A trusted client said where the next message came from: until the transaction is over, or the
    /// client greets again.
    package mutating func forwarded(_ client: ClientAttributes) { self.facts.forwarded(client) }
}
