import Testing

@testable import SMTPCore

/// A stub of AUTH LOGIN: two challenges, then policy is asked.
///
/// VRFY's question stands for AUTH's.
private struct StubLogin: SMTPLineDialogue {
    static let challenge = SMTPReply(
        code: ReplyCode(known: 334),
        status: nil,
        cause: .none,
        escaping: octets("VXNlcm5hbWU6")
    )

    private var name: [UInt8]?

    mutating func lineRead(_ line: borrowing Span<UInt8>) -> SMTPLineAction {
        let line = line.octets(0..<line.count)
        guard line != octets("*") else { return .refuse(StandardReplies.badParameter) }
        guard let name = self.name else {
            self.name = line
            return .challenge(Self.challenge)
        }
        return .ask(.vrfy, .vrfy(name + octets(":") + line, isSMTPUTF8: false))
    }
}

struct SMTPLineDialogueTests {
    private static func newDriver(
        answer: @escaping (SMTPQuestion) -> SMTPOutcome? = { _ in .granted(nil) }
    ) -> SessionDriver {
        let driver = SessionDriver.greeted(answer: answer)
        driver.tell { $0.beginDialogue(StubLogin(), challenge: StubLogin.challenge) }
        return driver
    }

    @Test func `a line of a dialogue is no command, however it arrives`() {
        for pieces in splits(octets("QUIT\r\n\r\nNOOP\r\n")) {
            let driver = Self.newDriver()
            for piece in pieces { driver.send(piece) }
            #expect(
                driver.events == [
                    .said(StubLogin.challenge),
                    .said(StubLogin.challenge),
                    .asked(.vrfy(octets("QUIT:"), isSMTPUTF8: false)),
                    .said(StandardReplies.cannotVerify),
                    .asked(.noop([])),
                    .said(StandardReplies.ok),
                ]
            )
            #expect(driver.counters.commands == 2)
        }
    }

    @Test func `policy's refusal ends a dialogue, and the stage is as before`() {
        let driver = SessionDriver.greeted()
        driver.beginTransaction()
        driver.answer = { _ in .refused(StandardReplies.verifyDenied) }
        driver.tell { $0.beginDialogue(StubLogin(), challenge: StubLogin.challenge) }
        #expect(driver.isInTransaction)
        driver.send("name\r\n")
        driver.send("word\r\n")
        #expect(driver.codes() == [334, 334, 550])
        driver.answer = { _ in .granted(nil) }
        #expect(driver.code(of: "DATA") == 354)
    }

    @Test func `a dialogue that refuses goes back to commands`() {
        let driver = Self.newDriver()
        driver.send("*\r\n")
        #expect(driver.codes() == [334, 501])
        #expect(driver.counters.errors == 1)
        #expect(driver.code(of: "NOOP") == 250)
    }

    @Test(arguments: [(12_286, [334, 334, 501]), (12_287, [334, 500])] as [(Int, [UInt16])])
    func `a response has a limit of its own`(count: Int, codes: [UInt16]) {
        let line = [UInt8](repeating: UInt8(ascii: "a"), count: count) + octets("\r\n")
        for pieces in [[line], line.map { [$0] }] {
            let driver = Self.newDriver()
            for piece in pieces { driver.send(piece) }
            if codes.last == 501 { driver.send("*\r\n") }
            // The limit of a command holds again.
            driver.send(octets("NOOP ") + [UInt8](repeating: UInt8(ascii: "x"), count: 600))
            driver.send("\r\nNOOP\r\n")
            #expect(driver.codes() == codes + [500, 250])
        }
    }

    @Test func `a response too long says so`() {
        let driver = Self.newDriver()
        driver.send([UInt8](repeating: UInt8(ascii: "a"), count: 13_000) + octets("\r\n"))
        #expect(driver.replies.last == StandardReplies.responseTooLong)
        #expect(driver.counters.errors == 1)
    }

    @Test func `octets behind a response are early talk`() {
        let driver = Self.newDriver()
        driver.send("name\r\n")
        #expect(!driver.isEarlyTalker)
        driver.send("word\r\nNOOP\r\n")
        #expect(driver.isEarlyTalker)
    }

    @Test func `a dialogue waits for the client as a command does`() {
        let driver = Self.newDriver()
        #expect(driver.wait == .command)
        driver.tell { $0.timedOut() }
        #expect(driver.codes() == [334, 421])

        let other = Self.newDriver()
        other.tell { $0.shutdownRequested() }
        #expect(other.codes() == [334, 421])
    }

    @Test func `no dialogue begins while a question is open`() {
        let driver = SessionDriver.greeted { _ in nil }
        driver.send("NOOP\r\n")
        driver.tell { $0.beginDialogue(StubLogin(), challenge: StubLogin.challenge) }
        #expect(driver.replies == [StandardReplies.internalError])
        #expect(driver.isClosed)
    }
}
