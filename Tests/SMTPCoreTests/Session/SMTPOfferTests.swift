import Testing

@testable import SMTPCore

/// What EHLO offers follows the session's state.
struct SMTPOfferTests {
    /// A stub of a listener that offers less before TLS.
    private static func newDriver(
        answer: @escaping (SMTPQuestion) -> SMTPOutcome? = { _ in .granted(nil) }
    ) -> SessionDriver {
        let configuration = Self.configuration {
            $0.isEncrypted ? [.pipelining, .size] : .pipelining
        }
        let driver = SessionDriver(configuration, answer: answer)
        driver.open()
        return driver
    }

    private static func configuration(
        _ extensions: (SMTPSecurity) -> SMTPExtensions
    ) -> SMTPConfiguration {
        SMTPConfiguration(hostname: octets("mx.example.org"), extensions: extensions)
    }

    private static func ehlo(_ driver: SessionDriver) -> String {
        driver.events = []
        driver.send("EHLO client.example\r\n")
        return String(decoding: driver.replies.flatMap(\.wire), as: UTF8.self)
    }

    @Test func `EHLO's keywords follow what the session has become`() {
        let driver = Self.newDriver()
        #expect(Self.ehlo(driver) == "250-mx.example.org\r\n250 PIPELINING\r\n")
        driver.session.security.isAuthenticated = true
        #expect(Self.ehlo(driver) == "250-mx.example.org\r\n250 PIPELINING\r\n")
        driver.session.security.isEncrypted = true
        #expect(
            Self.ehlo(driver) == "250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE 26214400\r\n"
        )
    }

    @Test func `MAIL takes the parameters that EHLO offered`() {
        let driver = Self.newDriver()
        _ = Self.ehlo(driver)
        #expect(driver.code(of: "MAIL FROM:<a@b> SIZE=5") == 555)
        driver.session.security.isEncrypted = true
        #expect(driver.code(of: "MAIL FROM:<a@b> SIZE=5") == 250)
    }

    @Test func `policy words the first line of the answer to EHLO alone`() {
        let host = octets("mx.example.org")
        let driver = Self.newDriver {
            guard case .ehlo = $0 else { return .granted(nil) }
            return .granted(.helo(hostname: host, text: [octets("hello"), octets("STARTTLS")]))
        }
        #expect(Self.ehlo(driver) == "250-mx.example.org hello\r\n250 PIPELINING\r\n")
        driver.session.security.isEncrypted = true
        #expect(
            Self.ehlo(driver)
                == "250-mx.example.org hello\r\n250-PIPELINING\r\n250 SIZE 26214400\r\n"
        )
    }

    /// Keywords that stand for a command, that command, and what it is answered if it is offered: BDAT
    /// wants MAIL first.
    static let commands: [(keyword: String, line: String, code: UInt16)] = [
        ("STARTTLS", "STARTTLS", 220), ("AUTH", "AUTH PLAIN AGEAYg==", 235),
        ("CHUNKING", "BDAT 0 LAST", 503),
    ]

    /// RFC 5321 §4.1.1.1, §4.2.4.
    @Test(arguments: commands, [false, true])
    func `a command is taken where it is offered, and nowhere else`(
        command: (keyword: String, line: String, code: UInt16),
        isEncrypted: Bool
    ) {
        for isOffering in [true, false] {
            let configuration = SMTPConfiguration(
                hostname: octets("mx.example.org"),
                extensions: {
                    guard isOffering else { return .pipelining }
                    return $0.isEncrypted ? .standard : SMTPExtensions.standard.union(.startTLS)
                },
                mechanisms: isOffering ? [.plain] : []
            )
            let driver = SessionDriver(configuration)
            driver.open()
            driver.session.security.isEncrypted = isEncrypted
            let isOffered = Self.ehlo(driver).contains(command.keyword)
            let code = driver.code(of: command.line)
            if isOffered {
                #expect(code != 500 && code != 502 && code != 538)
            } else {
                #expect([502, 503, 538].contains(code))
            }
            if !isOffering { #expect(!isOffered) }
        }
    }

    @Test func `states are told apart, and a reply is encoded once`() {
        #expect(SMTPSecurity.all.map(\.index) == Array(0..<8))
        var asked: [SMTPSecurity] = []
        let configuration = Self.configuration {
            asked.append($0)
            return $0.isEncrypted ? .standard : .pipelining
        }
        #expect(asked == SMTPSecurity.all)
        let storages = SMTPSecurity.all.map { security in
            configuration.ehloReply(in: security).wire.withUnsafeBufferPointer(\.baseAddress)
        }
        #expect(storages[0] == storages[2])
        #expect(storages[1] == storages[3])
        #expect(storages[0] != storages[1])
    }
}
