import Testing

@testable import SMTPCore

/// Pipelining, early talk, timers, shutting down.
struct SMTPTimingTests {
    @Test func `a pipelined group is answered in order, one question at a time`() {
        let driver = SessionDriver.greeted { _ in nil }
        driver.send("MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nRCPT TO:<e@f>\r\nDATA\r\n")
        #expect(driver.questions.count == 1)
        driver.decide(.granted(nil))
        #expect(driver.questions.count == 2)
        driver.decide(.refused(StandardReplies.recipientDenied))
        driver.decide(.granted(nil))
        #expect(driver.questions.last == .data)
        driver.decide(.granted(nil))
        #expect(driver.codes() == [250, 550, 250, 354])
        #expect(driver.wait == .content)
        #expect(!driver.isEarlyTalker)
    }

    @Test func `while a question is open nothing is parsed`() {
        let driver = SessionDriver.greeted { _ in nil }
        driver.send("MAIL FROM:<a@b>\r\n")
        let step = driver.next(in: octets("QUIT\r\n"))
        #expect(step == SMTPSession.Step(action: .awaitAnswer, consumed: 0))
    }

    @Test(arguments: [
        ("EHLO x\r\nNOOP\r\n", true), ("HELO x\r\nNOOP\r\n", true), ("QUIT\r\nx", true),
        ("VRFY a\r\nRSET\r\n", true), ("NOOP\r\nRSET\r\n", true), ("EXPN a\r\nRSET\r\n", true),
        ("STARTTLS\r\nEHLO x\r\n", true), ("AUTH PLAIN\r\nx", true), ("DATA\r\nx", true),
        ("RSET\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nNOOP\r\n", false), ("HELP\r\nNOOP\r\n", false),
        ("EHLO x\r\n", false),
    ])
    func `octets behind a command that ends a group are early talk`(text: String, isEarly: Bool) {
        let driver = SessionDriver.greeted()
        driver.send(text)
        #expect(driver.isEarlyTalker == isEarly)
        driver.send("NOOP\r\n")
        #expect(driver.isEarlyTalker == isEarly)
    }

    @Test(arguments: [
        ("EHLO x\r\n", true), ("NOOP\r\n", true), ("QUIT\r\n", true), ("MAIL FROM:<>\r\n", false),
        ("HELP\r\n", false), ("XYZZY\r\n", false),
    ])
    func `octets that arrive before the reply are early talk`(text: String, isEarly: Bool) {
        let driver = SessionDriver.greeted { _ in nil }
        driver.send(text)
        driver.send("x")
        #expect(driver.isEarlyTalker == isEarly)
    }

    @Test func `the next group behind the final dot is not early`() {
        let driver = SessionDriver.greeted {
            if case .message = $0 { nil } else { .granted(nil) }
        }
        driver.beginContent()
        driver.send("a: b\r\n\r\n.\r\nRSET\r\n")
        driver.send("MAIL FROM:<>\r\n")
        driver.decide(.granted(nil))
        #expect(!driver.isEarlyTalker)
        #expect(driver.codes() == [250, 250, 250])
    }

    @Test func `content sent before a granted 354 is content`() {
        let driver = SessionDriver.greeted(.test(commandOptions: .earlyContent))
        driver.beginTransaction()
        driver.send("DATA\r\na: b\r\n\r\n.\r\n")
        #expect(driver.codes() == [354, 250])
        #expect(driver.isEarlyTalker)
    }

    @Test func `content sent before the 354 ends the session, unless the listener takes it`() {
        for isLate in [false, true] {
            let driver = SessionDriver.greeted { $0 == .data ? nil : .granted(nil) }
            driver.beginTransaction()
            if isLate {
                driver.send("DATA\r\n")
                driver.send("a: b\r\n\r\n.\r\nMAIL FROM:<x@y>\r\n")
                driver.decide(.granted(nil))
            } else {
                driver.send("DATA\r\na: b\r\n\r\n.\r\nMAIL FROM:<x@y>\r\n")
            }
            let asked: [SessionDriver.Event] = isLate ? [.asked(.data)] : []
            #expect(
                driver.events == asked + [.said(StandardReplies.contentBeforeReply), .closed]
            )
            #expect(driver.isEarlyTalker)
            #expect(driver.counters.errors == 1)
            #expect(driver.counters.messages == 0)
        }
    }

    @Test func `content sent before a refused DATA never runs as commands`() {
        for isLate in [false, true] {
            let driver = SessionDriver.greeted(.test(commandOptions: .earlyContent)) {
                $0 == .data ? (isLate ? nil : .refused(StandardReplies.dataDenied)) : .granted(nil)
            }
            driver.beginTransaction()
            if isLate {
                driver.send("DATA\r\n")
                driver.send("RSET\r\nMAIL FROM:<x@y>\r\n.\r\n")
                driver.decide(.refused(StandardReplies.dataDenied))
            } else {
                driver.send("DATA\r\nRSET\r\nMAIL FROM:<x@y>\r\n.\r\n")
            }
            #expect(
                driver.events == [.asked(.data), .said(StandardReplies.dataDenied), .closed]
            )
        }
    }

    @Test(arguments: ["DATA\r\nMAIL FROM:<x@y>\r\n", "DATA x\r\nMAIL FROM:<x@y>\r\n"])
    func `nor does content behind a DATA that was out of order`(text: String) {
        let driver = SessionDriver.greeted()
        driver.send(text)
        #expect(driver.codes().count == 1)
        #expect(driver.isClosed)
        #expect(!driver.isInTransaction)
    }

    // MARK: Timers

    @Test func `each wait is named, and only the client's runs out`() {
        let driver = SessionDriver { _ in nil }
        #expect(driver.wait == .nothing)
        driver.open()
        #expect(driver.wait == .answer)
        #expect(driver.timedOut() == .dropStale)
        driver.decide(.granted(nil))
        #expect(driver.wait == .command)
        driver.tell { $0.timedOut() }
        #expect(driver.replies.last == StandardReplies.timeout)
        #expect(driver.isClosed)
        #expect(driver.wait == .nothing)
    }

    @Test func `content that stops coming times out`() {
        let driver = SessionDriver.greeted()
        driver.beginContent()
        #expect(driver.wait == .content)
        driver.send("a: b\r\n")
        driver.tell { $0.timedOut() }
        #expect(driver.codes() == [421])
        #expect(driver.isClosed)
    }

    @Test func `a session's time is up even while a question is open`() {
        let driver = SessionDriver.greeted { _ in nil }
        driver.send("NOOP\r\n")
        driver.tell { $0.sessionTimedOut() }
        #expect(driver.codes() == [421])
        #expect(driver.answered(.granted(nil)) == .dropStale)
    }

    // MARK: Shutting down

    @Test func `an idle session ends at once when the service stops`() {
        let driver = SessionDriver.greeted()
        driver.tell { $0.shutdownRequested() }
        #expect(driver.events == [.said(StandardReplies.shuttingDown), .closed])
    }

    @Test func `a transaction may finish first`() {
        let driver = SessionDriver.greeted()
        driver.beginTransaction()
        driver.tell { $0.shutdownRequested() }
        driver.send("DATA\r\n")
        driver.send("a: b\r\n\r\n.\r\n")
        #expect(driver.codes() == [354, 250, 421])
        #expect(driver.isClosed)
    }

    @Test func `a question may be answered first`() {
        let driver = SessionDriver.greeted { _ in nil }
        driver.send("NOOP\r\n")
        driver.tell { $0.shutdownRequested() }
        #expect(driver.codes().isEmpty)
        driver.decide(.granted(nil))
        #expect(driver.codes() == [250, 421])
    }

    @Test func `when the time for finishing is up everything ends`() {
        let driver = SessionDriver.greeted()
        driver.beginContent()
        driver.tell { $0.shutdownRequested() }
        #expect(!driver.isClosed)
        driver.tell { $0.shutdownDeadlinePassed() }
        #expect(driver.codes() == [421])
        #expect(driver.isClosed)
    }
}
