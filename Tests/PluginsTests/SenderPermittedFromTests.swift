import DomainNames
import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

struct SenderPermittedFromTests {
    private static let resolver = TestResolver { name, type in
        switch (name, type) {
        case ("pass.test", .txt):
            return .records([.text("other"), .text("v=spf1 ip4:192.0.2.1 -all")])
        case ("fail.test", .txt): return .records([.text("v=spf1 -all exp=why.test")])
        case ("why.test", .txt): return .records([.text("%{i} is not ours")])
        case ("soft.test", .txt): return .records([.text("v=spf1 ~all")])
        case ("neutral.test", .txt): return .records([.text("v=spf1 ?all")])
        case ("broken.test", .txt): return .records([.text("v=spf1 bad")])
        case ("slow.test", .txt): return .failure(.timedOut)
        case ("dead.test", .txt): return .records([.text("v=spf1 a:slow.test -all")])
        case ("slow.test", .a): return .failure(.server(rcode: 2))
        case ("mx.test", .txt): return .records([.text("v=spf1 mx ptr -all")])
        case ("mx.test", .mx):
            return .records([.mx(0, "."), .mx(1, "a b"), .mx(2, "one.test"), .mx(3, "two.test")])
        case ("two.test", .a): return .records([.address("192.0.2.1"), .address("192.0.2.7")])
        case ("9.2.0.192.in-addr.arpa", .ptr):
            return .records(["h.mx.test"].compactMap { DNSName($0) }.map { .name($0) })
        case ("h.mx.test", .a): return .records([.address("192.0.2.9")])
        case ("user.test", .txt): return .records([.text("v=spf1 exists:%{l}._u.%{d} -all")])
        case ("a\\043b\\032c._u.user.test", .a): return .records([.address("127.0.0.2")])
        default: return .nxdomain
        }
    }

    private static func session(
        _ arguments: String = "",
        files: [String: String] = [:]
    ) async throws -> TestSession {
        let session = try await TestSession(
            [SenderPermittedFrom.self],
            plugins: "sender_permitted_from \(arguments)",
            files: files.merging(["me": "mx1.example.com"]) { old, _ in old },
            resolver: Self.resolver
        )
        try await session.ehlo("helo.test")
        return session
    }

    /// For each result the first level that does not let it through.
    private static let senders:
        [(sender: String, result: String, level: Int, code: Int, status: String)] =
            [
                ("bob@pass.test", "pass", 7, 0, ""),
                ("bob@slow.test", "temperror", 2, 451, "4.7.24"),
                ("bob@dead.test", "temperror", 2, 451, "4.7.24"),
                ("bob@fail.test", "fail", 3, 550, "5.7.23"),
                ("bob@soft.test", "softfail", 4, 550, "5.7.23"),
                ("bob@neutral.test", "neutral", 5, 550, "5.7.23"),
                ("bob@none.test", "none", 6, 550, "5.7.23"),
                ("bob@[192.0.2.1]", "none", 6, 550, "5.7.23"),
                ("bob@broken.test", "permerror", 6, 550, "5.7.24"),
            ]

    @Test(arguments: 0...6)
    func `each level refuses one more result`(level: Int) async throws {
        for (sender, result, least, code, status) in Self.senders {
            let session = try await Self.session("reject \(level)")
            let answer = try await session.mail(from: sender)
            guard case .object(let note)? = session.note(.spf) else {
                Issue.record("\(sender) has no note")
                continue
            }
            #expect(note["result"] == .string(result), "\(sender)")
            #expect(note["identity"] == .string("mailfrom"))
            if level < least {
                #expect(answer == .declined, "\(level) \(sender)")
            } else {
                #expect(answer.verdict == (code == 451 ? .denysoft : .deny), "\(level) \(sender)")
                #expect(answer.reply?.code == code && answer.reply?.status == status, "\(sender)")
            }
        }
    }

    @Test func `the file says the level where the line does not, and spf_deny is an older word`()
        async throws
    {
        for (arguments, file, refused) in [
            ("", "", false), ("", "3", true), ("", "2", false), ("reject 1", "3", false),
            ("spf_deny 1", "", true), ("spf_deny 0", "", false), ("spf_deny 2", "1", true),
        ] {
            let session = try await Self.session(arguments, files: ["spfbehavior": file])
            let answer = try await session.mail(from: "bob@fail.test")
            #expect((answer.verdict == .deny) == refused, "\(arguments) \(file)")
        }
        for (arguments, file) in [
            ("reject 7", ""), ("reject naughty", ""), ("", "7"), ("", "fail"),
            ("reject 3 spf_deny 1", ""),
        ] {
            await #expect(throws: (any Error).self, "\(arguments) \(file)") {
                _ = try await Self.session(arguments, files: ["spfbehavior": file])
            }
        }
    }

    @Test func `with per_recipient each recipient's level counts at rcpt`() async throws {
        let session = try await Self.session(
            "reject 3 per_recipient 1",
            files: ["worker.toml": "recipient_directory = \"config/own/%h/%u\"\n"]
        )
        try session.write("1\n", to: "own/example.com/mild/spfbehavior")
        try session.write("4\n", to: "own/example.com/strict/spfbehavior")
        for (sender, refused) in [
            ("bob@pass.test", []), ("bob@soft.test", ["strict"]),
            ("bob@fail.test", ["usual", "strict"]),
        ] {
            #expect(try await session.mail(from: sender) == .declined)
            for recipient in ["usual", "mild", "strict"] {
                let answer = try await session.rcpt(to: "\(recipient)@example.com")
                let isRefused = answer.verdict == .deny && answer.reply?.status == "5.7.23"
                #expect(isRefused == refused.contains(recipient), "\(sender) \(recipient)")
                #expect(isRefused || answer == .declined)
            }
        }
    }

    @Test func `the domain's own words are a line of their own`() async throws {
        let session = try await Self.session("reject 3 reject_type temp_disconnect")
        let answer = try await session.mail(from: "bob@fail.test")
        #expect(answer.verdict == .denysoft_disconnect)
        #expect(answer.reply?.code == 451 && answer.reply?.status == "4.7.23")
        #expect(
            answer.reply?.text == [
                "192.0.2.1 is not allowed to send mail for fail.test (SPF)",
                "fail.test says: 192.0.2.1 is not ours",
            ]
        )
    }

    @Test func `karma and notes follow the result`() async throws {
        for (sender, karma) in [
            ("bob@pass.test", 1 as Int?), ("bob@fail.test", -1), ("bob@soft.test", -1),
            ("bob@neutral.test", nil), ("bob@none.test", nil), ("bob@slow.test", nil),
        ] {
            let session = try await Self.session("reject 1")
            try await session.mail(from: sender)
            #expect(session.note(.karma) == karma, "\(sender)")
            #expect(session.note(.spfPassHost) == (karma == 1 ? "pass.test" : nil))
            #expect(session.note(.dmarcSPF)?["scope"] == .string("mfrom"))
        }
    }

    @Test func `the field names all that was looked at`() async throws {
        let session = try await Self.session("reject 1")
        try await session.mail(from: "bob@Pass.test")
        #expect(session.note(.authenticationResults) == ["spf=pass smtp.mailfrom=pass.test"])
        try await session.message("Subject: x\r\n\r\n")
        let field = try #require(session.headers.first)
        #expect(field.name == "Received-SPF")
        #expect(
            field.value.string
                == " pass (mx1.example.com: pass.test designates 192.0.2.1 as permitted sender)\r\n\t"
                + "client-ip=192.0.2.1;\r\n\tenvelope-from=\"bob@Pass.test\";\r\n\thelo=helo.test;\r\n\t"
                + "receiver=mx1.example.com;\r\n\tidentity=mailfrom;\r\n\tmechanism=\"ip4:192.0.2.1\";"
        )
    }

    @Test func `what a client says cannot leave its place in the field`() async throws {
        let session = try await Self.session("reject 1")
        try await session.ehlo("a\")(;b\r\nX: y")
        try await session.mail(from: "b\")(ø@none.test")
        try await session.message("Subject: x\r\n\r\n")
        let value = try #require(session.headers.first?.value.string)
        #expect(value.contains("envelope-from=\"b\\\")(??@none.test\";"))
        #expect(value.contains("helo=\"a\\\")(;b??X: y\";"))
        #expect(!value.contains("\nX"))
    }

    @Test func `level 0 adds no field`() async throws {
        let session = try await Self.session("reject 0")
        try await session.mail(from: "bob@pass.test")
        try await session.message("Subject: x\r\n\r\n")
        #expect(session.headers.map(\.name) == ["Subject"])
        #expect(session.note(.authenticationResults)?.count == 1)
    }

    @Test func `for the null sender the client's name is asked about`() async throws {
        for (hello, result, refused) in [
            ("pass.test", "pass", false), ("fail.test", "fail", true),
            ("soft.test", "softfail", true),
            ("neutral.test", "neutral", false), ("none.test", "none", false),
            ("host", "none", false),
            ("[192.0.2.1]", "none", false),
        ] {
            let session = try await Self.session("reject 6")
            try await session.ehlo(hello)
            let answer = try await session.mail(from: "")
            #expect((answer.verdict == .deny) == refused, "\(hello)")
            guard case .object(let note)? = session.note(.spf) else {
                Issue.record("no note")
                continue
            }
            #expect(note["identity"] == .string("helo") && note["result"] == .string(result))
            #expect(session.note(.spfPassHost) == nil)
        }
    }

    @Test func `MX hosts and names of the client are found, unusable ones are not`() async throws {
        for (client, result) in [
            ("192.0.2.7", "pass"), ("192.0.2.9", "pass"), ("192.0.2.8", "fail"),
        ] {
            let session = try await Self.session("reject 1")
            session.clientIP = client
            try await session.mail(from: "bob@mx.test")
            #expect(session.note(.authenticationResults) == ["spf=\(result) smtp.mailfrom=mx.test"])
        }
    }

    @Test func `a name is asked for with the octets that macros put in`() async throws {
        let session = try await Self.session("reject 3")
        #expect(try await session.mail(from: "a+b c@user.test") == .declined)
        #expect(try await session.mail(from: "other@user.test").verdict == .deny)
        #expect(DNSName(escaping: Array("A+ b.c_-1".utf8))?.text == "a\\043\\032b.c_-1")
        for bad in ["", ".", "a..b", "a.", String(repeating: "a", count: 64)] {
            #expect(DNSName(escaping: Array(bad.utf8)) == nil, "\(bad)")
        }
        #expect(DNSName(escaping: Array(repeating: 0x2B, count: 63))?.text.utf8.count == 252)
    }

    @Test(arguments: 0...4)
    func `no_dmarc_policy refuses what has no DMARC policy, once it has come`(
        level: Int
    ) async throws {
        for (sender, _, least, _, status) in Self.senders {
            for dmarc in ["none", "fail", "temperror"] {
                let session = try await Self.session("reject 1 no_dmarc_policy \(level)")
                #expect(try await session.mail(from: sender) == .declined)
                session.setNote(.dmarc, to: .object(["result": .string(dmarc)]))
                let answer = try await session.message("Subject: x\r\n\r\n")
                let isRefused =
                    dmarc == "none" && level > 0 && (3...6).contains(least) && level >= least - 2
                #expect(
                    answer.verdict == (isRefused ? .deny : self.expected(least, level, dmarc)),
                    "\(sender)"
                )
                if isRefused { #expect(answer.reply?.status == status) }
            }
        }
        let session = try await Self.session("reject 1 no_dmarc_policy 4")
        try await session.mail(from: "bob@fail.test")
        #expect(try await session.message("Subject: x\r\n\r\n") == .declined)
    }

    /// A DNS that does not answer puts off whatever is refused at all.
    private func expected(_ least: Int, _ level: Int, _ dmarc: String) -> Verdict {
        least == 2 && level > 0 && dmarc == "none" ? .denysoft : .declined
    }

    @Test func `relay clients and senders without a domain are not asked about`() async throws {
        let session = try await Self.session("reject 6")
        #expect(try await session.mail(from: "postmaster") == .declined)
        session.relay = true
        #expect(try await session.mail(from: "bob@fail.test") == .declined)
        #expect(session.note(.spf) == nil)
    }

    @Test func `a DNS that is silent is a temperror within the deadline`() async throws {
        let server = try FakeDNSServer([
            .init("silent.test", 16): .silence,
            .init("half.test", 16): .records([[18] + Array("v=spf1 ptr ~all   ".utf8)]),
            .init("1.2.0.192.in-addr.arpa", 12): .silence,
        ])
        defer { server.stop() }
        let session = try await TestSession(
            [SenderPermittedFrom.self],
            plugins: "spf reject 2 timeout 300ms",
            files: ["worker.toml": "[dns]\nservers = [\"\(server.address)\"]\ntimeout_ms = 60000\n"]
        )
        // Not softfail for half.test: that the client has no name was not found out.
        for sender in ["bob@silent.test", "bob@half.test"] {
            let begin = ContinuousClock.now
            let answer = try await session.mail(from: sender)
            #expect(answer.reply?.code == 451 && answer.reply?.status == "4.7.24", "\(sender)")
            #expect(ContinuousClock.now - begin < .seconds(30))
        }
        await session.stop()
    }
}
