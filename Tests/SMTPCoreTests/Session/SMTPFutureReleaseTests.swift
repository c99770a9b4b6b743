import Testing

@testable import SMTPCore

/// FUTURERELEASE (RFC 4865): what EHLO says, and what MAIL may ask.
@Suite struct SMTPFutureReleaseTests {
    /// 2026-11-29T12:00:00Z.
    private static let now: Int64 = 1_795_953_600
    private static let offer = FutureReleaseOffer(nowSeconds: Self.now, maximumSeconds: 86_400)

    private static func driver(
        _ offer: FutureReleaseOffer? = Self.offer,
        extensions: SMTPExtensions = [.futureRelease]
    ) -> SessionDriver {
        let driver = SessionDriver(.test(extensions: extensions))
        driver.open()
        driver.session.futureRelease = offer
        driver.send("EHLO client.example\r\n")
        return driver
    }

    private static func lastReply(_ driver: SessionDriver) -> String {
        String(decoding: driver.replies.last?.wire ?? [], as: UTF8.self)
    }

    @Test func `EHLO announces the longest hold and the latest release`() {
        #expect(
            Self.lastReply(Self.driver())
                == "250-mx.example.org\r\n250 FUTURERELEASE 86400 2026-11-30T12:00:00Z\r\n"
        )
        #expect(Self.lastReply(Self.driver(nil)) == "250 mx.example.org\r\n")
        #expect(Self.lastReply(Self.driver(extensions: [])) == "250 mx.example.org\r\n")
    }

    @Test func `the greatest number of seconds has nine digits, the least is one`() {
        for (seconds, announced) in [(Int.max, 999_999_999), (0, 1), (-5, 1)] {
            let offer = FutureReleaseOffer(nowSeconds: 0, maximumSeconds: seconds)
            #expect(offer.keyword.starts(with: octets("FUTURERELEASE \(announced) ")))
        }
    }

    @Test(
        arguments: [
            ("HOLDFOR=1", .after(seconds: 1)), ("holdfor=86400", .after(seconds: 86_400)),
            ("HOLDFOR=86401", nil), ("HOLDFOR=999999999", nil), ("HOLDFOR=0", nil),
            ("HOLDFOR=01", nil), ("HOLDFOR=1000000000", nil), ("HOLDFOR=-1", nil),
            ("HOLDFOR=+1", nil), ("HOLDFOR=1s", nil), ("HOLDFOR=", nil), ("HOLDFOR", nil),
            ("HOLDUNTIL=2026-11-29T12:00:00Z", .until(seconds: Self.now)),
            ("HOLDUNTIL=2026-11-29t12:00:01z", .until(seconds: Self.now + 1)),
            ("HOLDUNTIL=2026-11-29T12:00:01.000Z", .until(seconds: Self.now + 1)),
            ("HOLDUNTIL=2026-11-29T12:00:01.001Z", .until(seconds: Self.now + 2)),
            ("HOLDUNTIL=2026-11-30T12:00:00Z", .until(seconds: Self.now + 86_400)),
            ("HOLDUNTIL=2026-11-30T12:00:00.1Z", nil), ("HOLDUNTIL=2026-11-30T12:00:01Z", nil),
            ("HOLDUNTIL=2026-11-29T11:59:59Z", nil), ("HOLDUNTIL=0000-01-01T00:00:00Z", nil),
            ("HOLDUNTIL=9999-12-31T23:59:59Z", nil), ("HOLDUNTIL=2026-11-31T12:00:00Z", nil),
            ("HOLDUNTIL=2026-13-01T12:00:00Z", nil), ("HOLDUNTIL=2026-00-01T12:00:00Z", nil),
            ("HOLDUNTIL=2026-11-00T12:00:00Z", nil), ("HOLDUNTIL=2026-11-29T24:00:00Z", nil),
            ("HOLDUNTIL=2026-11-29T12:60:00Z", nil), ("HOLDUNTIL=2026-11-29T12:00:61Z", nil),
            ("HOLDUNTIL=2026-11-29T23:59:60Z", .until(seconds: Self.now + 43_200)),
            ("HOLDUNTIL=2026-11-29T12:00:00", nil), ("HOLDUNTIL=2026-11-29T12:00:00+00:00", nil),
            ("HOLDUNTIL=2026-11-29T12:00:00.Z", nil), ("HOLDUNTIL=2026-11-29T12:00:00,5Z", nil),
            ("HOLDUNTIL=2026-11-29T12:00:00.12345678901Z", .until(seconds: Self.now + 1)),
            ("HOLDUNTIL=2026-11-29T12:00:00.123456789012Z", nil),
            ("HOLDUNTIL=2026-11-29_12:00:00Z", nil), ("HOLDUNTIL=20261129T120000Z", nil),
            ("HOLDUNTIL=+026-11-29T12:00:00Z", nil), ("HOLDUNTIL=Z", nil), ("HOLDUNTIL=", nil),
            ("HOLDFOR=1 HOLDFOR=1", nil), ("HOLDFOR=1 HOLDUNTIL=2026-11-29T12:00:01Z", nil),
            ("HOLDUNTIL=2026-11-29T12:00:01Z HOLDFOR=1", nil),
        ] as [(String, FutureRelease?)]
    )
    func `MAIL asks for one hold, within what EHLO announced`(
        parameters: String,
        wish: FutureRelease?
    ) {
        let driver = Self.driver()
        let code = driver.code(of: "MAIL FROM:<a@b> \(parameters)")
        guard let wish else {
            #expect(code == 501)
            return
        }
        #expect(code == 250)
        guard case .mail(_, let asked)? = driver.questions.last else {
            Issue.record("MAIL was not asked about")
            return
        }
        #expect(asked.futureRelease == wish)
        #expect(asked.all.octets == octets(parameters))
    }

    @Test func `a time is read and written by the calendar`() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0), ("2000-02-29T00:00:00Z", 951_782_400),
            ("2100-02-28T23:59:59Z", 4_107_542_399), ("2100-03-01T00:00:00Z", 4_107_542_400),
            ("2024-12-31T23:59:59Z", 1_735_689_599), ("2058-08-07T01:46:39Z", 2_795_910_399),
        ] as [(String, Int64)] {
            #expect(FutureReleaseGrammar.dateTime(octets(text)) == .until(seconds: seconds))
            #expect(FutureReleaseGrammar.text(ofSeconds: seconds) == text)
        }
        #expect(FutureReleaseGrammar.dateTime(octets("2100-02-29T00:00:00Z")) == nil)
        #expect(
            FutureReleaseGrammar.dateTime(octets("0001-01-01T00:00:00Z"))
                == .until(seconds: -62_135_596_800)
        )
    }

    @Test func `the time of release follows from MAIL, or from the client`() {
        #expect(FutureRelease.after(seconds: 5).releaseMS(nowMS: 1_500) == 6_500)
        #expect(FutureRelease.until(seconds: 5).releaseMS(nowMS: 1_500) == 5_000)
    }

    @Test func `a hold is unknown where the last EHLO did not offer it`() {
        let line = "MAIL FROM:<a@b> HOLDFOR=5"
        #expect(Self.driver(nil).code(of: line) == 555)
        #expect(Self.driver(extensions: []).code(of: line) == 555)
        // HELO offers nothing.
        let helo = Self.driver()
        helo.send("HELO client.example\r\n")
        #expect(helo.code(of: line) == 555)
        // Nor does what was said in clear text count under TLS.
        let secured = Self.driver(extensions: [.futureRelease, .startTLS])
        secured.send("STARTTLS\r\n")
        let (isDone, offer) = (secured.session.encrypted(), secured.session.futureRelease)
        #expect(isDone && offer == nil)
        // A new EHLO is asked anew.
        let again = Self.driver()
        again.session.futureRelease = nil
        again.send("EHLO client.example\r\n")
        #expect(again.code(of: line) == 555)
    }

    @Test func `a MAIL line may be longer where FUTURERELEASE may be offered`() {
        let rest = SMTPLimits.mailLineOctets + 34 - 2 - "MAIL FROM:<a@b> HOLDFOR=5".utf8.count
        let line = "MAIL FROM:<a@b>" + String(repeating: " ", count: rest) + " HOLDFOR=5"
        #expect(Self.driver().code(of: line) == 250)
        #expect(Self.driver().code(of: line + " ") == 500)
        #expect(Self.driver(extensions: []).code(of: line) == 500)
    }
}
