import Addresses
import Configuration
import NIOCore
import NIOEmbedded
import NIOPosix
import PolicyCore
import PolicyProtocol
import SMTPCore
import Testing

@testable import Frontend

extension SMTPSessionHandler {
    /// A tick at `now`, in monotonic milliseconds; the one before was `elapsedMS` earlier.
    fileprivate func timePassed(_ now: Int64, elapsedMS: Int64) {
        let before = TickTime(
            nowMS: now - elapsedMS,
            chargeableMS: self.chargedTime.chargeableMS
        )
        self.chargedTime = before
        self.timePassed(
            TickTime(nowMS: now, chargeableMS: before.chargeableMS + elapsedMS)
        )
    }
}

/// The handler's own part: the order of octets, replies, turns, timers and the ends of a connection.
///
/// There is no pool, so every question is undecided at once.
@Suite struct SessionHandlerTests {
    @Test func `pipelined commands are answered in order, with one write`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        #expect(try connection.replies().codes == ["220"])
        try connection.send("HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nNOOP\r\nRSET\r\n")
        let replies = try connection.replies()
        #expect(replies.codes == ["250", "250", "450", "250", "250"])
        #expect(replies.writes == 1)
    }

    @Test func `commands come in pieces`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        _ = try connection.replies()
        for octet in "HELO c\r\nNOOP\r\n" { try connection.send(String(octet)) }
        try connection.send("\r")
        #expect(try connection.replies().codes == ["250", "250"])
    }

    @Test func `after so many commands it is the turn of other sessions`() throws {
        let connection = try EmbeddedFrontend { configuration, _ in
            configuration.limits.maximumNoops = 0
        }
        try connection.connect()
        _ = try connection.replies()
        try connection.send(String(repeating: "NOOP\r\n", count: 2 * SessionTurns.steps + 1))
        #expect(try connection.replies().codes.count == SessionTurns.steps)
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(1))
        #expect(try connection.replies().codes.count == SessionTurns.steps)
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(1))
        #expect(try connection.replies().codes.count == 1)
    }

    @Test func `while the client takes no replies nothing is parsed, and then it goes on`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        _ = try connection.replies()
        connection.channel.isWritable = false
        connection.channel.pipeline.fireChannelWritabilityChanged()
        try connection.send("HELO c\r\n")
        #expect(try connection.replies().codes == [])
        connection.channel.isWritable = true
        connection.channel.pipeline.fireChannelWritabilityChanged()
        #expect(try connection.replies().codes == ["250"])
    }

    @Test func `a client that closed its sending side gets the replies to what it sent`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        try connection.send("HELO c\r\nNOO")
        connection.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(try connection.replies().codes == ["220", "250"])
        #expect(!connection.channel.isActive)
    }

    @Test func `QUIT is answered before the connection is closed`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        try connection.send("QUIT\r\nNOOP\r\n")
        #expect(try connection.replies().codes == ["220", "221"])
        #expect(connection.handler.end == .quit)
    }

    @Test func `a client that talks before the delayed banner is an early talker`() throws {
        let connection = try EmbeddedFrontend { _, listener in listener.greetingDelayMS = 50 }
        try connection.connect()
        #expect(try connection.replies().codes == [])
        try connection.send("HELO c\r\n")
        #expect(try connection.replies().codes == ["220", "250"])
        let isEarlyTalker = connection.handler.policy.facts.isEarlyTalker
        #expect(isEarlyTalker)
    }

    private static func behindProxy(
        _ change: (inout FrontendConfiguration.Listener) -> Void = { _ in }
    ) throws -> EmbeddedFrontend {
        let connection = try EmbeddedFrontend { _, listener in
            listener.proxyProtocol = true
            change(&listener)
        }
        try connection.connect()
        #expect(try connection.replies().codes == [])
        return connection
    }

    @Test(arguments: [1, 7, 1_000])
    func `a proxy names the client, and what follows its header is the client's`(count: Int) throws
    {
        let connection = try Self.behindProxy()
        let sent = Array("PROXY TCP4 203.0.113.9 198.51.100.2 4711 25\r\nHELO c\r\n".utf8)
        for start in stride(from: 0, to: sent.count, by: count) {
            let part = sent[start..<min(start + count, sent.count)]
            try connection.send(String(decoding: part, as: UTF8.self))
        }
        #expect(try connection.replies().codes == ["220", "250"])
        let facts = connection.handler.policy.facts
        #expect(facts.client == Peer(ip: "203.0.113.9", port: 4711))
        #expect(facts.server == Peer(ip: "198.51.100.2", port: 25))
        #expect(facts.proxy == Peer(ip: "192.0.2.1", port: 1))
        #expect(connection.handler.counted == CountedClient(IPAddress(parsing: "203.0.113.9")))
    }

    @Test func `a proxy that is trusted with XCLIENT counts for its client alone`() throws {
        let connection = try EmbeddedFrontend { configuration, listener in
            configuration.limits.maximumSessionsPerIP = 1
            listener.xclientNetworks = IPNetwork(parsing: "192.0.2.1").map { [$0] } ?? []
        }
        try connection.connect()
        try connection.send("EHLO p\r\nXCLIENT ADDR=203.0.113.9 PORT=4711 LOGIN=jo\r\n")
        _ = try connection.replies()
        var facts = connection.handler.policy.facts
        #expect(facts.client == Peer(ip: "203.0.113.9", port: 4711))
        #expect(facts.proxy == Peer(ip: "192.0.2.1", port: 1))
        #expect(facts.login?.mechanism == "XCLIENT")
        #expect(connection.handler.counted == CountedClient(IPAddress(parsing: "203.0.113.9")))
        try connection.send("XCLIENT NAME=a.example\r\nXCLIENT DESTADDR=198.51.100.1\r\n")
        #expect(try connection.replies().codes == ["220", "220"])
        facts = connection.handler.policy.facts
        #expect(facts.client == Peer(ip: "203.0.113.9", port: 4711))
        #expect(facts.clientName == "a.example" && facts.login == nil)
        #expect(facts.server.ip == "198.51.100.1")
        try connection.send("XCLIENT ADDR=203.0.113.10\r\nXCLIENT ADDR=010.0.0.1\r\n")
        #expect(try connection.replies().codes == ["220", "501"])
        facts = connection.handler.policy.facts
        #expect(facts.client == Peer(ip: "203.0.113.10", port: 0) && facts.clientName == nil)
        #expect(connection.handler.counted == CountedClient(IPAddress(parsing: "203.0.113.10")))
    }

    @Test func `octets behind a header are early while the banner is held back`() throws {
        let connection = try Self.behindProxy { $0.greetingDelayMS = 50 }
        try connection.send("PROXY TCP4 203.0.113.9 198.51.100.2 4711 25\r\nHELO c\r\n")
        #expect(try connection.replies().codes == ["220", "250"])
        let isEarlyTalker = connection.handler.policy.facts.isEarlyTalker
        #expect(isEarlyTalker)
    }

    @Test func `a proxy that speaks for itself is the client`() throws {
        let connection = try Self.behindProxy()
        try connection.send("PROXY UNKNOWN\r\n")
        #expect(try connection.replies().codes == ["220"])
        let facts = connection.handler.policy.facts
        #expect(facts.client == Peer(ip: "192.0.2.1", port: 1))
        #expect(facts.proxy == nil)
        #expect(connection.handler.counted == CountedClient(IPAddress(parsing: "192.0.2.1")))
    }

    @Test func `what is no header closes the connection without a word`() throws {
        let connection = try Self.behindProxy()
        try connection.send("EHLO c\r\n")
        #expect(!connection.channel.isActive)
        #expect(try connection.replies().codes == [])
        #expect(connection.handler.end == .refused)
    }

    @Test func `a header that is late closes the connection, and not a moment earlier`() throws {
        let connection = try Self.behindProxy()
        try connection.send("PROXY TCP4 ")
        let until = connection.handler.phaseUntilMS
        #expect(until >= connection.handler.openedMS + 5_000)
        connection.handler.timePassed(until - 1, elapsedMS: 0)
        #expect(connection.channel.isActive)
        connection.handler.timePassed(until, elapsedMS: 0)
        #expect(!connection.channel.isActive)
        #expect(connection.handler.end == .refused)
    }

    @Test func `the banner comes after its delay`() throws {
        let connection = try EmbeddedFrontend { _, listener in listener.greetingDelayMS = 50 }
        try connection.connect()
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(49))
        #expect(try connection.replies().codes == [])
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(1))
        #expect(try connection.replies().codes == ["220"])
    }

    @Test func `a silent client is closed with 421, and not a moment earlier`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        _ = try connection.replies()
        let limit = connection.handler.commandTimeoutMS
        connection.handler.timePassed(connection.handler.lastHeardMS + limit - 1, elapsedMS: 0)
        #expect(try connection.replies().codes == [])
        connection.handler.timePassed(connection.handler.lastHeardMS + limit, elapsedMS: 0)
        #expect(try connection.replies().codes == ["421"])
        #expect(connection.handler.end == .timeout)
    }

    @Test func `a session is quiet until its next timer, unless something else may happen`() throws
    {
        let connection = try EmbeddedFrontend(["default"]) { configuration, _ in
            configuration.limits.budgets.commandMS = 900_000
            configuration.limits.budgets.envelopeMS = 1_000
        }
        let handler = connection.handler
        let worker = try connection.worker(#""rcpt":{}"#)
        #expect(handler.quietMS(.max) == nil)
        try connection.connect()
        _ = try connection.replies()
        // The client was heard just now.
        #expect(handler.quietMS(handler.lastHeardMS + SMTPSessionHandler.quietAfterMS - 1) == nil)
        let later = handler.lastHeardMS + SMTPSessionHandler.quietAfterMS
        #expect(
            handler.quietMS(later)
                == handler.commandTimeoutMS - SMTPSessionHandler.quietAfterMS
        )
        // The session's own time is over sooner.
        let end = handler.openedMS + handler.limits.sessionTimeoutMS
        #expect(
            handler.quietMS(end - 7)
                == min(7, handler.lastHeardMS + handler.commandTimeoutMS - (end - 7))
        )
        // In a transaction its budget is over first; 400 ms of it were used.
        try connection.send("HELO c\r\nMAIL FROM:<a@b>\r\n")
        _ = try connection.replies()
        handler.timePassed(handler.lastHeardMS, elapsedMS: 200)
        handler.timePassed(handler.lastHeardMS, elapsedMS: 200)
        let budget = handler.budgetLimits.envelopeMS
        #expect(
            handler.quietMS(handler.lastHeardMS + SMTPSessionHandler.quietAfterMS)
                == min(budget - 400, handler.commandTimeoutMS - SMTPSessionHandler.quietAfterMS)
        )
        // A worker has the question.
        try connection.send("RCPT TO:<c@d>\r\n")
        #expect(handler.quietMS(handler.lastHeardMS + 1_000) == nil)
        try worker.answer("rcpt", .ok)
        #expect(handler.quietMS(handler.lastHeardMS + 1_000) != nil)
        // Content is on its way, and too little of it may come.
        try connection.send("DATA\r\n")
        #expect(handler.quietMS(handler.lastHeardMS + 1_000) == nil)
        try connection.send(".\r\n")
        // Replies wait for the client.
        connection.channel.isWritable = false
        connection.channel.pipeline.fireChannelWritabilityChanged()
        #expect(handler.quietMS(handler.lastHeardMS + 1_000) == nil)
    }

    @Test func `a client that takes no reply for too long is closed without another`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        _ = try connection.replies()
        connection.channel.isWritable = false
        connection.channel.pipeline.fireChannelWritabilityChanged()
        let blocked = try #require(connection.handler.blockedSinceMS)
        let limit = connection.handler.limits.replyTimeoutMS
        connection.handler.timePassed(blocked + limit - 1, elapsedMS: 0)
        #expect(connection.channel.isActive)
        connection.handler.timePassed(blocked + limit, elapsedMS: 0)
        #expect(!connection.channel.isActive)
        #expect(try connection.replies().codes == [])
    }

    @Test func `a frontend that does not serve says 421 in the banner's place`() throws {
        let connection = try EmbeddedFrontend(isServing: false)
        try connection.connect()
        #expect(try connection.replies().codes == ["421"])
        #expect(connection.handler.end == .shutdown)
    }

    @Test func `a session keeps the limits that it began with`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        let before = connection.handler.limits.replyTimeoutMS
        var changed = connection.server.configuration
        changed.limits.replyTimeoutMS = before + 1
        connection.server.reload(changed)
        #expect(connection.server.configuration.limits.replyTimeoutMS == before + 1)
        #expect(connection.handler.limits.replyTimeoutMS == before)
    }

    @Test func `a session that lasts too long is closed with 421, however busy it is`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        _ = try connection.replies()
        let end = connection.handler.openedMS + connection.handler.limits.sessionTimeoutMS
        try connection.send("NOOP\r\n")
        #expect(try connection.replies().codes == ["250"])
        connection.handler.timePassed(end, elapsedMS: 0)
        #expect(try connection.replies().codes == ["421"])
        #expect(connection.handler.end == .timeout)
    }

    @Test func `time in which the session waits for its client is charged, and no other`() throws {
        let connection = try EmbeddedFrontend(["default"]) { configuration, listener in
            configuration.limits.budgets.envelopeMS = 400_000
            listener.greetingDelayMS = 50
        }
        let worker = try connection.worker(#""mail":{}"#)
        /// A minute passes, at most a quarter of a second of it at once.
        func minute() {
            for _ in 0..<240 {
                connection.handler.timePassed(connection.handler.lastHeardMS, elapsedMS: 250)
            }
        }
        try connection.connect()
        // The banner is held back.
        for _ in 0..<60 { minute() }
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(50))
        for _ in 0..<5 { minute() }
        try connection.send("HELO c\r\nMAIL FROM:<a@b>\r\n")
        #expect(try connection.replies().codes == ["220", "250"])
        // A worker has the question.
        for _ in 0..<60 { minute() }
        try worker.answer("mail", .ok)
        #expect(try connection.replies().codes == ["250"])
        for _ in 0..<6 { minute() }
        try connection.send("RSET\r\n")
        #expect(try connection.replies().codes == ["250"])
        // Ten minutes are the budget outside transactions; five of them were used.
        for _ in 0..<5 { minute() }
        #expect(try connection.replies().codes == [])
        minute()
        #expect(try connection.replies().codes == ["421"])
        #expect(connection.handler.end == .timeout)
    }

    @Test func `the time that a worker took is no silence of the client`() throws {
        let connection = try EmbeddedFrontend(["default"])
        let worker = try connection.worker(#""mail":{}"#)
        try connection.connect()
        try connection.send("HELO c\r\nMAIL FROM:<a@b>\r\n")
        _ = try connection.replies()
        let limit = connection.handler.commandTimeoutMS
        let answered = connection.handler.lastHeardMS + limit
        connection.handler.timePassed(answered, elapsedMS: 100)
        try worker.answer("mail", .ok)
        #expect(try connection.replies().codes == ["250"])
        connection.handler.timePassed(answered + limit - 1, elapsedMS: 100)
        #expect(try connection.replies().codes == [])
        connection.handler.timePassed(answered + limit, elapsedMS: 100)
        #expect(try connection.replies().codes == ["421"])
    }

    @Test func `a client past a budget that takes no replies is closed without another`() throws {
        let connection = try EmbeddedFrontend { configuration, _ in
            configuration.limits.budgets.commandMS = 1
        }
        try connection.connect()
        _ = try connection.replies()
        connection.channel.isWritable = false
        connection.channel.pipeline.fireChannelWritabilityChanged()
        let now = connection.handler.lastHeardMS
        let most = connection.handler.commandTimeoutMS / TickTime.maximumChargeMS
        for _ in 0..<most {
            connection.handler.timePassed(now, elapsedMS: TickTime.maximumChargeMS)
        }
        #expect(connection.channel.isActive)
        connection.handler.timePassed(now, elapsedMS: 1)
        #expect(!connection.channel.isActive)
        #expect(try connection.replies().codes == [])
        #expect(connection.handler.end == .timeout)
    }

    @Test func `a greeting that is held back is no silence of the client`() throws {
        let connection = try EmbeddedFrontend { _, listener in listener.greetingDelayMS = 50 }
        try connection.connect()
        connection.handler.timePassed(.max, elapsedMS: 0)
        #expect(try connection.replies().codes == [])
        #expect(connection.channel.isActive)
    }

    @Test func `a client that leaves before the banner is gone without a word`() throws {
        let connection = try EmbeddedFrontend { _, listener in listener.greetingDelayMS = 50 }
        try connection.connect()
        connection.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(!connection.channel.isActive)
        connection.channel.embeddedEventLoop.advanceTime(by: .milliseconds(50))
        #expect(try connection.replies().codes == [])
    }

    @Test func `too many errors close the session, and the end says so`() throws {
        let connection = try EmbeddedFrontend { configuration, _ in
            configuration.limits.maximumErrors = 2
        }
        try connection.connect()
        _ = try connection.replies()
        for _ in 0..<4 { try connection.send("RCPT\r\n") }
        #expect(try connection.replies().codes.last == "421")
        #expect(connection.handler.end == .error)
    }

    @Test func `at shutdown an idle session ends, and a transaction may finish`() throws {
        let (idle, busy) = (try EmbeddedFrontend(), try EmbeddedFrontend())
        for connection in [idle, busy] {
            try connection.connect()
            try connection.send("HELO c\r\n")
        }
        try busy.send("MAIL FROM:<a@b>\r\n")
        for connection in [idle, busy] {
            _ = try connection.replies()
            connection.handler.shutDown()
        }
        #expect(try idle.replies().codes == ["421"])
        #expect(idle.handler.end == .shutdown)
        #expect(try busy.replies().codes == [])
        try busy.send("NOOP\r\n")
        #expect(try busy.replies().codes.first == "250")
        busy.handler.shutdownOverdue()
        #expect(try busy.replies().codes == ["421"])
        #expect(busy.handler.end == .shutdown)
    }

    @Test func `what arrives after the last reply is not answered`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        try connection.send("QUIT\r\n")
        _ = try connection.replies()
        let end = connection.handler.end
        if connection.channel.isActive { try connection.send("NOOP\r\n") }
        #expect(try connection.replies().codes == [] && connection.handler.end == end)
    }

    @Test func `a client that does not close is closed once its last reply had its time`() throws {
        let connection = try EmbeddedFrontend()
        try connection.connect()
        _ = try connection.replies()
        connection.channel.isWritable = false
        connection.handler.endNow(.timeout)
        #expect(!connection.channel.isActive)
        // The end is told once.
        connection.handler.timePassed(.max, elapsedMS: 0)
        connection.handler.sessionOver()
        #expect(connection.handler.end == .timeout)
    }
}
