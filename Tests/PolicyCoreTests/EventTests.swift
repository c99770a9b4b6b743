import JSON
import PolicyCore
import PolicyProtocol
import SMTPCore
import SessionPlay
import Testing

/// What stands in an event: the rules of protocol/events.md, a row each.
@Suite struct EventTests {
    private static let smtp = SMTPConfiguration(hostname: Array("mx".utf8))

    /// A session whose one pool is asked about `hook` now.
    private func play(
        _ hook: Hook,
        needs: Needs = [],
        maximumFrameOctets: Int = 1_048_576
    ) -> PlayedSession {
        let pools = PlayedPools()
        pools.register(
            needs: [hook: needs],
            maximumFrameOctets: maximumFrameOctets
        )
        let play = pools.session(Self.smtp)
        play.connect()
        let lines = [
            "EHLO c", "MAIL FROM:<a@b> SIZE=9", "RCPT TO:<c@d>", "RCPT TO:<e@f>", "DATA", "A: b",
            "", "x", ".",
        ]
        play.grant(until: hook)
        for line in lines where play.openHook != hook {
            play.send(line)
            play.grant(until: hook)
        }
        if case .store = play.wait { play.stored() }
        #expect(play.openHook == hook)
        return play
    }

    private func event(_ play: PlayedSession, needs: Needs = []) throws -> JSONValue {
        let line = try #require(play.event(needs: needs))
        #expect(line.last == 0x0A && !line.dropLast().contains(0x0A))
        return try JSONValue(parsing: Array(line.dropLast()))
    }

    @Test(
        arguments: PlayedPools.askedHooks.filter {
            ![.helo, .auth, .vrfy, .help, .noop, .unrecognized_command, .quit].contains($0)
        }
    )
    func `an event names its hook, its session and its transaction`(hook: Hook) throws {
        let event = try self.event(self.play(hook))
        #expect(event["type"] == .string("event") && event["hook"] == .string(hook.rawValue))
        #expect(event["session"]?["id"] == .string("S"))
        let hasTransaction = ![.connect, .ehlo].contains(hook)
        #expect((event["transaction"] != nil) == hasTransaction)
        #expect((event["notes"]?["transaction"] != nil) == hasTransaction)
        #expect(event["elided"] == nil)
    }

    @Test func `a client that a proxy names before the greeting is the one asked about`() throws {
        let pools = PlayedPools()
        pools.register(asked: [.connect])
        let play = pools.session(Self.smtp)
        play.clientReplaced(
            by: Peer(ip: "2001:db8::1", port: 4_000),
            server: Peer(ip: "2001:db8::2", port: 25),
            proxy: Peer(ip: "192.0.2.1", port: 1)
        )
        play.connect()
        let session = try #require(try self.event(play)["session"])
        #expect(session["client"]?["ip"] == .string("2001:db8::1"))
        #expect(session["client"]?["port"] == .int(4_000))
        #expect(session["server"]?["ip"] == .string("2001:db8::2"))
        #expect(session["proxy"] == .object(["ip": .string("192.0.2.1"), "port": .int(1)]))
    }

    @Test func `what was known of the client before is forgotten`() throws {
        let pools = PlayedPools()
        pools.register(asked: [.connect, .ehlo, .noop, .mail])
        let play = pools.session(Self.smtp)
        play.connect()
        var verdict = PolicyVerdict(id: 1, verdict: .declined)
        verdict.actions = [.setRelay(true), .setClientName(Array("old.example".utf8))]
        verdict.sessionNotes = .object(["a": .int(1)])
        #expect(play.answer(verdict) == nil)
        play.send("EHLO old")
        play.grant()
        let (client, proxy) = (Peer(ip: "192.0.2.9", port: 9), Peer(ip: "192.0.2.1", port: 1))
        play.clientReplaced(by: client, server: nil, proxy: proxy)
        play.send("NOOP")
        let event = try self.event(play)
        let session = try #require(event["session"])
        #expect(
            session["client"]
                == .object(["ip": .string(client.ip), "port": .int(9), "name": .null])
        )
        #expect(session["server"]?["ip"] == .string("192.0.2.2"))
        #expect(session["hello"] == .null && session["relay"] == .bool(false))
        #expect(event["notes"]?["session"] == .object([:]))
        // Not while a question is open, and not inside a transaction.
        play.clientReplaced(by: proxy, server: nil, proxy: proxy)
        play.grant()
        play.send("MAIL FROM:<a@b>")
        play.grant()
        play.clientReplaced(by: proxy, server: nil, proxy: proxy)
        play.send("NOOP")
        #expect(try self.event(play)["session"]?["client"]?["ip"] == .string(client.ip))
    }

    @Test func `a proxy may tell the client's name and its login`() throws {
        let pools = PlayedPools()
        pools.register(asked: [.connect])
        let play = pools.session(Self.smtp)
        play.clientReplaced(
            by: Peer(ip: "192.0.2.9", port: 9),
            server: nil,
            proxy: Peer(ip: "192.0.2.1", port: 1),
            name: "spike.example",
            user: Array("jo".utf8)
        )
        play.connect()
        let session = try #require(try self.event(play)["session"])
        #expect(session["client"]?["name"] == .string("spike.example"))
        let auth: JSONValue = .object(["mechanism": .string("XCLIENT"), "user": .string("jo")])
        #expect(session["auth"] == auth && session["relay"] == .bool(true))
    }

    @Test(arguments: ["RSET", "EHLO again", "STARTTLS", "another client"])
    func `what XFORWARD said holds until the transaction is over, or the client greets again`(
        end: String
    ) throws {
        let pools = PlayedPools()
        pools.register(asked: [.noop])
        let play = pools.session(Self.smtp)
        play.connect()
        play.send("EHLO x")
        play.send("NOOP")
        #expect(try self.event(play)["session"]?["xforward"] == nil)
        play.grant()
        play.forwarded([.init(name: .address, value: Array("192.0.2.7".utf8))])
        play.forwarded([.init(name: .port, value: nil)])
        if end == "RSET" { play.send("MAIL FROM:<a@b>") }
        play.send("NOOP")
        #expect(
            try self.event(play)["session"]?["xforward"]
                == .object(["addr": .string("192.0.2.7"), "port": .null])
        )
        play.grant()
        switch end {
        case "STARTTLS": play.encrypted()
        case "another client":
            let peer = Peer(ip: "192.0.2.9", port: 9)
            play.clientReplaced(by: peer, server: nil, proxy: peer)
        default: play.send(end)
        }
        play.send("NOOP")
        #expect(try self.event(play)["session"]?["xforward"] == nil)
    }

    @Test func `the sender is not there while MAIL is asked about, but in its arguments`() throws {
        let event = try self.event(self.play(.mail))
        #expect(event["transaction"]?["sender"] == .null)
        #expect(event["args"]?["sender"]?["address"] == .string("a@b"))
        #expect(
            event["args"]?["sender"]?["params"]
                == .array([.array([.string("SIZE"), .string("9")])])
        )
    }

    @Test func `a recipient counts once it is granted`() throws {
        let play = self.play(.rcpt, needs: .recipients)
        let event = try self.event(play, needs: .recipients)
        #expect(event["transaction"]?["recipient_count"] == .int(0))
        #expect(event["args"]?["recipient"]?["id"] == .int(1))
        play.answer(.ok)
        play.send("RCPT TO:<e@f>")
        let second = try self.event(play, needs: .recipients)
        #expect(second["transaction"]?["recipient_count"] == .int(1))
        #expect(second["args"]?["recipient"]?["id"] == .int(2))
    }

    @Test(arguments: [Needs.recipients, .headers, .message, .trace])
    func `a part that costs something is there for a worker that needs it`(needs: Needs) throws {
        let with = try self.event(self.play(.data_post, needs: needs), needs: needs)
        let without = try self.event(self.play(.data_post))
        func part(_ event: JSONValue) -> JSONValue? {
            switch needs {
            case .recipients: event["transaction"]?["recipients"]
            case .headers: event["transaction"]?["headers"]
            case .message: event["transaction"]?["message"]
            default: event["trace"]
            }
        }
        #expect(part(with) != nil && part(without) == nil)
    }

    @Test func `no worker is told of a message that is not whole`() throws {
        let event = try self.event(self.play(.data_headers_end, needs: .message), needs: .message)
        #expect(event["transaction"]?["message"] == nil)
    }

    @Test func `what does not fit is left out, the header first, and named`() throws {
        let needs: Needs = [.headers, .recipients]
        let play = self.play(.data_post, needs: needs)
        let whole = try #require(play.event(needs: needs)).count
        let rows: [(octets: Int, elided: JSONValue?)] = [
            (whole, nil), (whole - 1, .array([.string("headers")])),
        ]
        for row in rows {
            let line = try #require(play.event(needs: needs, maximumOctets: row.octets))
            #expect(line.count <= row.octets)
            let event = try JSONValue(parsing: Array(line.dropLast()))
            #expect(event["elided"] == row.elided)
        }
        let bare = try #require(play.event()).count
        let both = #","elided":["headers","recipients"]"#.utf8.count
        let line = try #require(play.event(needs: needs, maximumOctets: bare + both))
        let event = try JSONValue(parsing: Array(line.dropLast()))
        #expect(event["elided"] == .array([.string("headers"), .string("recipients")]))
        #expect(play.event(needs: needs, maximumOctets: bare - 1) == nil)
    }

    @Test func `the key is the question's, and the next question has another`() throws {
        let play = self.play(.mail)
        let first = try self.event(play)["key"]
        #expect(try self.event(play)["key"] == first)
        play.answer(.declined)
        play.send("RCPT TO:<c@d>")
        #expect(try self.event(play)["key"] != first)
        #expect(first == .string("S.1.q3"))
    }

    @Test func `the counters are those of now`() throws {
        let play = self.play(.mail)
        #expect(try self.event(play)["session"]?["counters"]?["commands"] == .int(2))
        play.answer(.declined)
        play.send("WHAT")
        #expect(try self.event(play)["session"]?["counters"]?["unrecognized"] == .int(1))
    }

    @Test func `an early talker, a relay and a name are facts from then on`() throws {
        let play = self.play(.mail)
        var verdict = PolicyVerdict(id: 1, verdict: .declined)
        verdict.actions = [.setRelay(true)]
        #expect(play.answer(verdict) == nil)
        // The second RCPT came before the first was answered.
        play.send("RCPT TO:<c@d>")
        play.send("RCPT TO:<e@f>")
        play.answer(.ok)
        let session = try self.event(play)["session"]
        #expect(session?["relay"] == .bool(true))
        #expect(session?["hello"]?["verb"] == .string("EHLO"))
    }
}
