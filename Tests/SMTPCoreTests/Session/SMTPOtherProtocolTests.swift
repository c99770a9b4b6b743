import Testing

@testable import SMTPCore

/// What a browser or a TLS client says first.
struct SMTPOtherProtocolTests {
    private static let hello: [UInt8] =
        [0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0xFF] + Array(repeating: 0, count: 700)
    static let beginnings: [[UInt8]] =
        ["GET", "POST", "HEAD", "PUT", "CONNECT", "OPTIONS"].flatMap { method in
            [
                octets("\(method) / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\n"),
                octets("\(method) /\(String(repeating: "x", count: 900)) HTTP/1.1\r\nEHLO x\r\n"),
                octets("\(method) / HTTP/1.1\nEHLO x\n"), octets("\(method)\r\nEHLO x\r\n"),
                octets("\(method) /\0\r\n"), octets("\(method) "),
            ]
        } + [
            [0x16], hello, hello + octets("\r\nEHLO x\r\n"),
            [0x16, 3, 1, 0, 0] + octets("\r\nEHLO x\r\n"), [0x16, 0x0A],
        ]

    @Test(arguments: beginnings)
    func `it ends the session, however it arrives`(beginning: [UInt8]) {
        for pieces in [[beginning], beginning.map { [$0] }] {
            let driver = SessionDriver()
            driver.open()
            driver.events = []
            for piece in pieces { driver.send(piece) }
            #expect(driver.events == [.said(StandardReplies.otherProtocol), .closed])
            #expect(driver.counters.commands == 1)
            #expect(driver.counters.errors == 1)
            #expect(driver.counters.unrecognized == 1)
        }
    }

    @Test(arguments: ["GETX /\r\n", "get /\r\n", "GE\r\n", "X GET /\r\n", "POSTER\r\n", "\r\n"])
    func `another word is an unrecognised command`(line: String) {
        let driver = SessionDriver { $0 == .connect ? .granted(nil) : nil }
        driver.open()
        driver.send(line)
        #expect(!driver.isClosed)
        #expect(driver.wait == .answer)
    }

    @Test func `so is a method that comes later, or to a listener that takes it`() {
        let later = SessionDriver.greeted()
        later.send("GET / HTTP/1.1\r\n")
        #expect(later.replies == [StandardReplies.unrecognizedCommand])
        let taking = SessionDriver(.test(commandOptions: .otherProtocols))
        taking.open()
        taking.events = []
        taking.send("GET / HTTP/1.1\r\n")
        taking.send([0x16, 3, 1] + octets("\r\n"))
        #expect(
            taking.replies == [
                StandardReplies.unrecognizedCommand, StandardReplies.unrecognizedCommand,
            ]
        )
    }
}
