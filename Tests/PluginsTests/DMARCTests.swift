import DMARC
import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

/// A DNS with policies of every kind.
private func dns(_ extra: [String: String] = [:]) -> TestResolver {
    let records =
        [
            "_dmarc.reject.example": "v=DMARC1; p=reject; rua=mailto:r@reject.example",
            "_dmarc.quarantine.example": "v=DMARC1; p=quarantine; sp=none",
            "_dmarc.none.example": "v=DMARC1; p=none; rua=mailto:r@none.example",
            "_dmarc.test.example": "v=DMARC1; p=reject; t=y; rua=mailto:r@test.example",
            "_dmarc.np.example": "v=DMARC1; p=none; np=reject",
            "_dmarc.broken.example": "v=DMARC1; p=bad",
            "_dmarc.reg.co.example": "v=DMARC1; p=reject",
        ].merging(extra) { $1 }
    return TestResolver { name, type in
        switch (name, type) {
        case ("_dmarc.down.example", _): return .failure(.timedOut)
        case ("here.np.example", .a): return .nodata
        case (_, .txt): return records[name].map { .records([.text($0)]) } ?? .nxdomain
        default: return .nxdomain
        }
    }
}

struct DMARCTests {
    private static let quarantine = NoteKey<String>("quarantine", in: .transaction)

    private func session(
        _ arguments: String = "",
        spf: (String, String)? = nil,
        identity: String = "mailfrom",
        dkim: [(String, String)] = [],
        files: [String: String] = [:],
        sender: String = "bounce@list.example"
    ) async throws -> TestSession {
        let session = try await TestSession(
            [DMARCVerifier.self],
            plugins: "dmarc \(arguments)",
            files: files,
            resolver: dns()
        )
        try await session.mail(from: sender)
        self.setNotes(session, spf: spf, identity: identity, dkim: dkim)
        return session
    }

    private func setNotes(
        _ session: TestSession,
        spf: (String, String)?,
        identity: String = "mailfrom",
        dkim: [(String, String)]
    ) {
        if let spf {
            session.setNote(
                .spf,
                to: .object([
                    "domain": .string(spf.0), "result": .string(spf.1),
                    "identity": .string(identity),
                ])
            )
        }
        session.setNote(
            .dkim,
            to: .array(
                dkim.map {
                    .object([
                        "domain": .string($0.0), "result": .string($0.1), "selector": .string("s1"),
                    ])
                }
            )
        )
    }

    private func message(from: String) -> String { "From: \(from)\r\nSubject: x\r\n\r\nhello\r\n" }

    private func results(_ session: TestSession) -> [String] {
        session.note(.authenticationResults) ?? []
    }

    @Test(
        arguments: [
            ("reject.example", "pass", nil), ("mail.reject.example", "pass", nil),
            ("reject.example", "fail", "fail"), ("reject.example", "softfail", "fail"),
            ("other.example", "pass", "fail"), ("reject.example", "temperror", "temperror"),
            ("other.example", "temperror", "fail"), ("[192.0.2.1]", "pass", "fail"),
            ("reject.example", "PASS!", "fail"),
        ] as [(String, String, String?)]
    )
    func `SPF vouches for a domain it passes`(
        domain: String,
        spf: String,
        result: String?
    ) async throws {
        let session = try await self.session(spf: (domain, spf))
        let answer = try await session.message(self.message(from: "Jo <jo@reject.example>"))
        #expect(session.note(.dmarc)?["result"] == .string(result ?? "pass"))
        #expect(answer.verdict == (result == "fail" ? .deny : .declined))
    }

    @Test func `a refusal has the words of RFC 7372, and costs karma`() async throws {
        let session = try await self.session()
        let answer = try await session.message(self.message(from: "jo@Reject.example"))
        #expect(
            answer
                == .deny(
                    "Mail from reject.example is refused by the DMARC policy of reject.example",
                    code: 550,
                    status: "5.7.26"
                )
        )
        #expect(session.note(.karma) == -3)
        #expect(
            self.results(session) == ["dmarc=fail (p=reject dis=reject) header.from=reject.example"]
        )
        #expect(
            session.note(.dmarc)
                == .object(
                    [
                        "result": "fail", "policy": "reject", "domain": "reject.example",
                        "disposition": "reject",
                    ].mapValues { .string($0) }
                )
        )
    }

    @Test(arguments: [
        ("reject.example", "pass", true), ("a.reject.example", "pass", true),
        ("reject.example", "fail", false), ("reject.example", "policy", false),
        ("other.example", "pass", false),
    ])
    func `DKIM vouches for a domain it passes`(
        domain: String,
        dkim: String,
        passes: Bool
    ) async throws {
        let session = try await self.session(dkim: [("x.example", "pass"), (domain, dkim)])
        let answer = try await session.message(self.message(from: "jo@reject.example"))
        #expect((answer == .declined) == passes)
        #expect((session.note(.karma) == nil) == passes)
        if passes {
            #expect(
                self.results(session) == [
                    "dmarc=pass (p=reject dis=none) header.from=reject.example"
                ]
            )
        }
    }

    @Test func `the name of HELO counts for the null sender alone`() async throws {
        for (sender, verdict) in [("", Verdict.declined), ("jo@list.example", .deny)] {
            let session = try await self.session(
                spf: ("reject.example", "pass"),
                identity: "helo",
                sender: sender
            )
            #expect(
                try await session.message(self.message(from: "jo@reject.example")).verdict
                    == verdict
            )
        }
    }

    @Test(arguments: [
        ("", Verdict.declined, true, false), ("quarantine note", .declined, true, false),
        ("quarantine header", .declined, true, true), ("quarantine reject", .deny, false, false),
        ("quarantine ignore", .declined, false, false),
        ("quarantine reject reject 0", .declined, false, false),
    ])
    func `quarantine is what the operator says`(
        arguments: String,
        verdict: Verdict,
        hasNote: Bool,
        hasField: Bool
    ) async throws {
        let session = try await self.session(arguments)
        let forged = "X-DMARC-Quarantine: forged\r\n"
        let answer = try await session.message(forged + self.message(from: "jo@quarantine.example"))
        #expect(answer.verdict == verdict)
        #expect(
            session.note(Self.quarantine)
                == (hasNote ? "DMARC policy of quarantine.example" : nil)
        )
        let fields = session.headers.filter { $0.name == "X-DMARC-Quarantine" }.map(\.value)
        #expect(fields == [hasField ? " quarantine.example" : " forged"])
        #expect(session.note(.karma) == -3)
    }

    @Test func `reject 0 and naughty do not refuse`() async throws {
        for (arguments, flags) in [("reject 0", 0), ("reject naughty", 1)] {
            let session = try await self.session(arguments)
            #expect(try await session.message(self.message(from: "jo@reject.example")) == .declined)
            #expect(session.note(.naughty)?.count ?? 0 == flags)
            #expect(session.note(.dmarc)?["disposition"] == .string("none"))
        }
        let temporary = try await self.session("reject_type temp")
        let answer = try await temporary.message(self.message(from: "jo@reject.example"))
        #expect(answer.verdict == .denysoft && answer.reply?.status == "4.7.26")
    }

    @Test(
        arguments: [
            // from, result, policy, verdict
            ("none.example", "fail", "none", Verdict.declined),
            ("a.quarantine.example", "fail", "none", .declined),
            ("test.example", "fail", "quarantine", .declined),
            ("here.np.example", "fail", "none", .declined),
            ("gone.np.example", "fail", "reject", .deny),
            ("nothing.example", "none", nil, .declined),
            ("broken.example", "permerror", nil, .declined),
            ("down.example", "temperror", nil, .declined),
        ] as [(String, String, String?, Verdict)]
    )
    func `a policy is what its owner published`(
        from: String,
        result: String,
        policy: String?,
        verdict: Verdict
    ) async throws {
        let session = try await self.session()
        #expect(try await session.message(self.message(from: "jo@\(from)")).verdict == verdict)
        #expect(session.note(.dmarc)?["result"] == .string(result))
        #expect(session.note(.dmarc)?["policy"] == policy.map { .string($0) })
        #expect(self.results(session).count == 1)
        #expect(self.results(session).first?.hasPrefix("dmarc=\(result)") == true)
    }

    @Test func `trouble with the DNS is put off only where the operator wants`() async throws {
        let session = try await self.session("dns_failure defer")
        let answer = try await session.message(self.message(from: "jo@down.example"))
        #expect(answer.verdict == .denysoft && answer.reply?.status == "4.4.3")
        #expect(session.note(.karma) == nil)
    }

    @Test(arguments: [
        "From: jo@reject.example\r\nfrom: al@none.example\r\n",
        "From: jo@none.example, al@reject.example\r\n",
        "From: Team: jo@none.example, al@other.example;\r\n",
        "From: <jo@none.example> (x) al@reject.example\r\n",
        "From: jo@none.example, al@[192.0.2.1]\r\n",
        "From: =?utf-8?q?jo=40none.example=2C_al=40reject.example?=\r\n",
    ])
    func `a message from several domains is refused`(header: String) async throws {
        let session = try await self.session(spf: ("none.example", "pass"))
        let answer = try await session.message(header + "\r\nhello\r\n")
        #expect(answer.verdict == .deny && answer.reply?.status == "5.7.1", "\(answer)")
        #expect(self.results(session).first?.hasPrefix("dmarc=permerror (") == true)
        let tolerant = try await self.session("reject 0")
        #expect(try await tolerant.message(header + "\r\nhello\r\n") == .declined)
    }

    @Test(arguments: [
        "Subject: x\r\n", "From: Undisclosed:;\r\n", "From: jo\r\n", "From:\r\n",
        "From: jo@[192.0.2.1]\r\n",
    ])
    func `a message without a domain is left alone`(header: String) async throws {
        let session = try await self.session()
        #expect(try await session.message(header + "\r\nhello\r\n") == .declined)
        #expect(self.results(session).isEmpty)
    }

    @Test func `an address within an encoded word is found`() async throws {
        let session = try await self.session()
        let from = "=?utf-8?B?am9AcmVqZWN0LmV4YW1wbGU=?="
        #expect(try await session.message(self.message(from: from)).verdict == .deny)
    }

    @Test func `without SPF and DKIM nothing is decided, and immune clients are left alone`()
        async throws
    {
        let bare = try await TestSession([DMARCVerifier.self], plugins: "dmarc", resolver: dns())
        try await bare.mail(from: "a@b.example")
        #expect(try await bare.message(self.message(from: "jo@reject.example")) == .declined)
        #expect(bare.note(.dmarc) == nil)
        let relay = try await self.session()
        relay.relay = true
        #expect(try await relay.message(self.message(from: "jo@reject.example")) == .declined)
        #expect(relay.note(.dmarc) == nil)
    }

    @Test func `a list of suffixes may take the place of the walk`() async throws {
        let files = ["suffixes": "example\nco.example\n"]
        let session = try await self.session(
            "discovery psl public_suffix_list config/suffixes",
            spf: ("b.reg.co.example", "pass"),
            files: files
        )
        #expect(try await session.message(self.message(from: "jo@a.reg.co.example")) == .declined)
        #expect(session.note(.dmarc)?["result"] == .string("pass"))
    }

    @Test(arguments: [
        "quarantine x", "discovery x", "dns_failure x", "reporting x", "unknown 1",
        "discovery psl public_suffix_list none/there", "timeout 0",
    ])
    func `mistakes are named`(arguments: String) async throws {
        await #expect(throws: (any Error).self) { _ = try await self.session(arguments) }
    }

    // MARK: Reports

    @Test func `messages that are alike are counted in one row`() async throws {
        let session = try await self.session(
            "reporting 1",
            spf: ("reject.example", "pass"),
            dkim: [("x.example", "fail"), ("reject.example", "pass")]
        )
        let message = self.message(from: "jo@reject.example")
        for _ in 0..<3 { try await session.message(message) }
        session.clientIP = "2001:db8::1"
        try await session.message(message)
        let day = DMARCReportCounter.day(session.nowMilliseconds)
        let rows = try await self.rows(session, "reject.example", day)
        #expect(rows.map(\.count).sorted() == [1, 3])
        let row = try #require(rows.first { $0.count == 3 }?.row)
        #expect(row.sourceIP == "192.0.2.1" && row.disposition == .pass && row.reason == nil)
        #expect(row.isSPFAligned && row.isDKIMAligned)
        #expect(row.signatures.map(\.domain) == ["reject.example", "x.example"])
        #expect(row.envelopeFrom == "list.example" && row.spf?.domain == "reject.example")
        let key = Bytes("dmarc/" + DMARCReportKeys.policy("reject.example", day: day))
        let text = try #require(try await session.store.get(key)?.string)
        let policy = try #require(DMARCPublishedPolicy(text: text))
        #expect(policy.reportAddresses == ["mailto:r@reject.example"])
        // After four days it is gone.
        session.clock.advance(by: .seconds(5 * 86_400))
        #expect(try await session.store.scan(prefix: "dmarc/", limit: 100).isEmpty)
    }

    @Test(
        arguments: [
            ("", "reject.example", DMARCDisposition.reject, nil),
            ("reject 0", "reject.example", .none, .localPolicy),
            ("", "test.example", .quarantine, .testMode),
            ("quarantine ignore", "test.example", .none, .localPolicy),
            ("", "none.example", .none, nil),
        ] as [(String, String, DMARCDisposition, DMARCReportRow.Reason?)]
    )
    func `a row says what was done, and why`(
        arguments: String,
        from: String,
        disposition: DMARCDisposition,
        reason: DMARCReportRow.Reason?
    ) async throws {
        let session = try await self.session("reporting 1 \(arguments)")
        try await session.message(self.message(from: "jo@\(from)"))
        let day = DMARCReportCounter.day(session.nowMilliseconds)
        let row = try #require(try await self.rows(session, from, day).first?.row)
        #expect(row.disposition == disposition && row.reason == reason)
    }

    @Test func `a domain that wants no reports is not counted`() async throws {
        let session = try await self.session("reporting 1")
        for from in ["quarantine.example", "nothing.example", "down.example", "broken.example"] {
            try await session.message(self.message(from: "jo@\(from)"))
        }
        #expect(try await session.store.scan(prefix: "", limit: 100).isEmpty)
    }

    @Test func `rows have a limit, and a row that is there still counts`() async throws {
        let session = try await self.session("reporting 1")
        let message = self.message(from: "jo@reject.example")
        try await session.message(message)
        let day = DMARCReportCounter.day(session.nowMilliseconds)
        let count = Bytes("dmarc/" + DMARCReportKeys.count("reject.example", day: day))
        try await session.store.set(
            count,
            to: Bytes("\(DMARCReportCounter.rowsOfDomain)"),
            expiresIn: .seconds(60)
        )
        session.clientIP = "192.0.2.77"
        #expect(try await session.message(message).verdict == .deny)
        session.clientIP = "192.0.2.1"
        try await session.message(message)
        #expect(try await self.rows(session, "reject.example", day).map(\.count) == [2])
    }

    private func rows(
        _ session: TestSession,
        _ domain: String,
        _ day: String
    ) async throws -> [(row: DMARCReportRow, count: Int)] {
        let prefix = Bytes("dmarc/" + DMARCReportKeys.rows(domain, day: day))
        return try await session.store.scan(prefix: prefix, limit: 100)
            .compactMap { $0.value.string.flatMap { DMARCReportKeys.read($0) } }
    }
}
