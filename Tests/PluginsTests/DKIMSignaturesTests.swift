import DKIM
import DKIMKeys
import DomainNames
import Octets
import PolicyKit
import PolicyKitTesting
import SignatureKeys
import Testing

@testable import StandardPlugins

/// SHA-256 of octets that do not end with CRLF.
private func sha256(_ octets: [UInt8]) -> [UInt8] {
    let kind = BodyHashKind(.simple, limit: Int64(octets.count))
    var hashes = BodyHashes([kind])
    hashes.received(octets)
    return hashes.finished()[kind]?.digest ?? []
}

/// A domain with a key that was made for this run.
private struct SigningTestDomain {
    let key: PrivateKey
    let domain: SigningDomain

    init(
        _ domain: String = "example.net",
        _ selector: String = "sel",
        _ kind: SignatureKeyKind = .ed25519
    ) throws {
        self.key = try #require(PrivateKey(generating: kind, bits: 1_024))
        self.domain = try #require(
            SigningDomain(domain: Array(domain.utf8), selector: Array(selector.utf8))
        )
    }

    var pem: String { String(decoding: self.key.pem ?? [], as: UTF8.self) }

    var record: String { KeyRecord.text(for: self.key) ?? "" }

    /// The message with a signature above it.
    func signed(_ header: [(String, String)], _ body: String) throws -> String {
        var hashes = DKIMSigning.bodyHashes
        hashes.received(Array(body.utf8))
        let fields = header.map { SignedField(name: Array($0.utf8), value: Array(" \($1)".utf8)) }
        let signing = DKIMSigning(fields, now: 1_600_000_000)
        let value = try #require(signing.value(self.key, self.domain, bodies: hashes.finished()))
        return "DKIM-Signature:\(String(decoding: value, as: UTF8.self))\r\n"
            + header.map { "\($0): \($1)\r\n" }.joined() + "\r\n\(body)"
    }
}

/// Answers nothing before the deadline, and then that the time is over.
private struct SilentResolver: NameResolver {
    func query(
        _ name: DNSName,
        _ type: DNSRecordType,
        deadline: ContinuousClock.Instant?
    ) async -> DNSAnswer {
        try? await Task.sleep(until: deadline ?? .now, clock: .continuous)
        return .failure(.timedOut)
    }
}

private let header = [
    ("From", "Bob <bob@example.net>"), ("To", "a@example.org"), ("Subject", "hello"),
]
private let body = "Hello  you.\r\n\r\nBye.\r\n"

@Suite struct DKIMSignaturesTests {
    private func session(
        _ arguments: String = "",
        files: [String: String] = [:],
        resolver: (any NameResolver)? = nil,
        records: [String: String] = [:]
    ) async throws -> TestSession {
        let session = try await TestSession(
            [DKIMSignatures.self],
            plugins: "dkim \(arguments)",
            files: files,
            resolver: resolver
                ?? TestResolver { name, type in
                    guard type == .txt, let record = records[name] else { return .nxdomain }
                    return record.isEmpty ? .failure(.timedOut) : .records([.text(record)])
                }
        )
        session.nowMilliseconds = 1_600_000_000_000
        return session
    }

    private func results(_ session: TestSession) -> [String] {
        session.note(.authenticationResults) ?? []
    }

    private func said(_ session: TestSession) -> [String] {
        guard case .array(let list)? = session.note(.dkim) else { return [] }
        return list.map { item in
            if case .string(let word)? = item["result"] { word } else { "?" }
        }
    }

    @Test func `a signature that is right is noted`() async throws {
        let domain = try SigningTestDomain()
        let session = try await self.session(records: [domain.domain.keyName.text: domain.record])
        try await session.mail(from: "bob@example.net")
        #expect(try await session.message(domain.signed(header, body)) == .declined)
        let results = self.results(session)
        #expect(results.count == 1)
        #expect(
            results.first?.hasPrefix(
                "dkim=pass header.d=example.net header.s=sel header.a=ed25519-sha256 header.b=\""
            ) == true
        )
        #expect(results.first?.split(separator: "\"").last?.count == 8)
        #expect(session.note(.dkimResult) == "pass")
        #expect(session.note(.dkimPassDomains) == ["example.net"])
        #expect(session.note(.karma) == 1)
        #expect(
            session.note(.dkim)
                == .array([
                    .object([
                        "result": .string("pass"), "domain": .string("example.net"),
                        "selector": .string("sel"), "identity": .string("@example.net"),
                        "algorithm": .string("ed25519-sha256"),
                    ])
                ])
        )
    }

    @Test func `a message without a signature is left alone`() async throws {
        let session = try await self.session("reject 1")
        try await session.mail(from: "bob@example.net")
        #expect(try await session.message("From: b@example.net\r\n\r\nx\r\n") == .declined)
        #expect(self.results(session) == ["dkim=none"] && session.note(.dkimResult) == "none")
        #expect(session.note(.dkim) == .array([]) && session.note(.karma) == nil)
    }

    @Test(arguments: [
        ("", false), ("reject 0", false), ("reject 1", true), ("reject 1 reject_type temp", true),
    ])
    func `a signature that is wrong refuses only if it is to`(
        arguments: String,
        refuses: Bool
    ) async throws {
        let domain = try SigningTestDomain()
        let records = [domain.domain.keyName.text: domain.record]
        let session = try await self.session(arguments, records: records)
        try await session.mail(from: "bob@example.net")
        let answer = try await session.message(domain.signed(header, body) + "more\r\n")
        let isTemporary = arguments.contains("temp")
        #expect(answer.verdict == (refuses ? (isTemporary ? .denysoft : .deny) : .declined))
        if refuses {
            #expect(answer.reply?.status == (isTemporary ? "4.7.20" : "5.7.20"))
            #expect(answer.reply?.code == (isTemporary ? nil : 550))
            #expect(answer.reply?.text == ["No passing DKIM signature found"])
        }
        #expect(self.said(session) == ["fail"] && session.note(.karma) == -1)
        #expect(
            self.results(session)[0].hasPrefix(
                "dkim=fail reason=\"the body was changed\" header.d="
            )
        )
        // One that passes beside it is enough.
        let second = try await self.session(arguments, records: records)
        try await second.mail(from: "bob@example.net")
        let good = try domain.signed(header, body)
        let bad = "DKIM-Signature: v=1; a=rsa-sha1; d=example.net; s=sel\r\n"
        #expect(try await second.message(bad + good) == .declined)
        #expect(self.said(second) == ["permerror", "pass"])
        #expect(second.note(.dkimResult) == "pass")
    }

    @Test func `whitelisted senders are not refused, and our own clients not looked at`()
        async throws
    {
        let domain = try SigningTestDomain()
        let session = try await self.session("reject 1")
        session.relay = true
        try await session.mail(from: "bob@example.net")
        #expect(try await session.message(domain.signed(header, body)) == .declined)
        #expect(session.note(.dkim) == nil)
        let silent = try await self.session("verify 0")
        try await silent.mail(from: "bob@example.net")
        #expect(try await silent.message(domain.signed(header, body)) == .declined)
        #expect(silent.note(.dkim) == nil)
    }

    @Test func `a DNS that is silent ends with its time, and refuses nothing`() async throws {
        let domain = try SigningTestDomain()
        let session = try await self.session("reject 1 timeout 100ms", resolver: SilentResolver())
        try await session.mail(from: "bob@example.net")
        let start = ContinuousClock.now
        #expect(try await session.message(domain.signed(header, body)) == .declined)
        #expect(ContinuousClock.now - start < .seconds(30))
        #expect(self.said(session) == ["temperror"] && session.note(.dkimResult) == "temperror")
        #expect(
            self.results(session)[0].hasPrefix("dkim=temperror reason=\"the DNS did not answer\"")
        )
        #expect(session.note(.karma) == nil)
    }

    @Test func `ten signatures ask for their keys at once, and each once`() async throws {
        let domain = try SigningTestDomain()
        let resolver = TestResolver { _, _ in .nxdomain }
        let session = try await self.session(resolver: resolver)
        try await session.mail(from: "bob@example.net")
        var message = try domain.signed(header, body)
        for index in 0..<30 {
            message =
                "DKIM-Signature: v=1; a=rsa-sha256; d=d\(index).example; s=s; h=from; bh=AQ==; b=AQ==\r\n"
                + message
        }
        #expect(try await session.message(message) == .declined)
        #expect(self.said(session).count == 10 && resolver.questions.count == 10)
    }

    // MARK: Signing

    /// Signs as a worker does; what comes out is verified with the keys of `domains`.
    private func signed(
        _ message: String,
        _ files: [String: String],
        _ domains: [SigningTestDomain],
        arguments: String = ""
    ) async throws -> (fields: [HeaderField], results: [String]) {
        let session = try await self.session(arguments, files: files)
        session.relay = true
        try await session.mail(from: "bob@example.net")
        #expect(try await session.message(message, at: .queue_pre) == .declined)
        var records: [String: String] = [:]
        for domain in domains { records[domain.domain.keyName.text] = domain.record }
        let other = try await self.session("verify 1 sign 0", records: records)
        try await other.mail(from: "bob@example.net")
        var text = ""
        for field in session.headers {
            text += "\(field.name.string ?? ""):\(field.value.string ?? "")\r\n"
        }
        let end = try #require(message.firstRange(of: "\r\n\r\n")).lowerBound
        _ = try await other.message("Received: by another\r\n" + text + message[end...].dropFirst())
        return (session.headers, self.results(other))
    }

    private static let message =
        "From: Bob <bob@Mail.example.net>\r\nSubject:  two\r\n\tlines \r\n\r\n" + body

    @Test func `mail of our own clients is signed with every key of the author's domain`()
        async throws
    {
        let first = try SigningTestDomain("mail.example.net", "a", .rsa)
        let second = try SigningTestDomain("mail.example.net", "b")
        let files = [
            "dkim/mail.example.net/selector": "# two keys\na\nb  other\n",
            "dkim/mail.example.net/private": first.pem,
            "dkim/mail.example.net/other": second.pem,
        ]
        let found = try await self.signed(Self.message, files, [first, second])
        #expect(found.fields.prefix(2).allSatisfy { $0.name == "DKIM-Signature" })
        #expect(found.results.count == 2 && found.results.allSatisfy { $0.hasPrefix("dkim=pass ") })
        let untouched = try await self.signed(Self.message, files, [], arguments: "no_sign")
        #expect(untouched.fields.count == 2)
    }

    @Test func `a domain above the author's signs in its own name`() async throws {
        let domain = try SigningTestDomain("example.net", "a")
        let files = ["dkim/example.net/selector": "a\n", "dkim/example.net/private": domain.pem]
        let found = try await self.signed(Self.message, files, [domain])
        #expect(
            found.results.first?.hasPrefix("dkim=pass header.d=example.net header.s=a ") == true
        )
        for from in [
            "bob@example.org", "bob@example.net\r\nFrom: bob@example.net", "undisclosed:;",
        ] {
            let message = "From: \(from)\r\n\r\nx\r\n"
            let unsigned = try await self.signed(message, files, [domain])
            #expect(!unsigned.fields.contains { $0.name == "DKIM-Signature" }, "\(from)")
        }
    }

    @Test func `nobody else's mail is signed`() async throws {
        let domain = try SigningTestDomain("example.net", "a")
        let files = ["dkim/example.net/selector": "a\n", "dkim/example.net/private": domain.pem]
        let session = try await self.session(files: files)
        try await session.mail(from: "bob@example.net")
        #expect(try await session.message(Self.message, at: .queue_pre) == .declined)
        #expect(session.headers.count == 2)
        session.authentication = .init(mechanism: "PLAIN", user: "bob")
        #expect(try await session.message(Self.message, at: .queue_pre) == .declined)
        #expect(session.headers.count == 3)
    }

    @Test func `a key is read anew when its file changes, and one that is broken is no verdict`()
        async throws
    {
        let first = try SigningTestDomain("example.net", "a")
        let second = try SigningTestDomain("example.net", "a")
        let session = try await self.session(
            files: ["dkim/example.net/selector": "a\n", "dkim/example.net/private": first.pem]
        )
        session.relay = true
        var values: [Bytes] = []
        for pem in [first.pem, first.pem, second.pem] {
            try session.write(pem, to: "dkim/example.net/private")
            try await session.mail(from: "bob@example.net")
            _ = try await session.message(Self.message, at: .queue_pre)
            values.append(try #require(session.headers.first).value)
        }
        #expect(values[0] == values[1] && values[1] != values[2])
        try session.write("nonsense", to: "dkim/example.net/private")
        await #expect(throws: TestFailure.self) {
            try await session.message(Self.message, at: .queue_pre)
        }
    }

    @Test(arguments: [
        ("sign 1", [:]), ("no_sign sign 1", [:]), ("timeout 0", [:]), ("nonsense 1", [:]),
        ("reject 2", [:]),
        ("", ["dkim/a.example/selector": "a\n"]),
        ("", ["dkim/a.example/selector": "a b c\n"]),
        ("", ["dkim/a.example/selector": "a/b\n"]),
        ("", ["dkim/a.example/selector": "a\n", "dkim/a.example/private": "nonsense"]),
        ("", ["dkim/a.example/selector": "a\nb\nc\nd\ne\n"]),
    ])
    func `what is wrong is an error at start`(arguments: String, files: [String: String]) async {
        await #expect(throws: (any Error).self) {
            _ = try await self.session(arguments, files: files)
        }
    }

    @Test(arguments: [
        ("a@b.example", "b.example"), (" \"x@y.z\" <a@B.Example>", "b.example"),
        ("(c@d.example) a@b.example (e)", "b.example"), ("\"a\\\"@c.d\"@b.example", "b.example"),
        ("a@b.example, c@d.example", "b.example"), ("x <a@b.example>, <c@d.example>", "b.example"),
        ("Team: a@b.example, c@d.example;", "b.example"), ("<@c.d,@e.f:a@b.example>", "b.example"),
        ("a@b\u{fc}cher.example", "xn--bcher-kva.example"), ("a @ b.example", "b.example"),
        ("a@b.example(c)", "b.example"), ("undisclosed:;", nil), ("", nil), ("a", nil), ("a@", nil),
        ("<a@b.c", nil),
        ("a@localhost", nil), ("a@[192.0.2.1]", nil), ("(a@b.example", nil), ("\"a@b.example", nil),
    ])
    func `the author's domain`(value: String, domain: String?) {
        #expect(AuthorDomain.first(in: Array(value.utf8))?.text == domain)
    }
}

@Suite struct ARCSetsTests {
    private func session(_ domain: SigningTestDomain) async throws -> TestSession {
        let record = domain.record
        let name = domain.domain.keyName.text
        let session = try await TestSession(
            [ARCSets.self],
            plugins: "arc",
            resolver: TestResolver { asked, _ in
                asked == name ? .records([.text(record)]) : .nxdomain
            }
        )
        try await session.mail(from: "bob@example.net")
        return session
    }

    /// The message with the set of a first instance above it.
    private func sealed(_ domain: SigningTestDomain) throws -> String {
        func field(_ name: String, _ value: String) -> [UInt8] {
            SignedField(name: Array(name.utf8), value: Array(value.utf8)).canonical(.relaxed)
        }
        func signature(_ octets: [UInt8]) throws -> String {
            Base64.encode(try #require(domain.key.signature(of: sha256(octets))))
        }
        var hashes = DKIMSigning.bodyHashes
        hashes.received(Array(body.utf8))
        let digest = try #require(hashes.finished()[BodyHashKind(.relaxed)]).digest
        let tags = "i=1; a=ed25519-sha256; d=example.net; s=sel"
        let results = " i=1; mx.example; none"
        var message = " \(tags); c=relaxed/relaxed; h=from; bh=\(Base64.encode(digest)); b="
        let from = field("From", " \(header[0].1)") + [0x0D, 0x0A]
        message += try signature(from + field("ARC-Message-Signature", message))
        var seal = " \(tags); cv=none; b="
        seal += try signature(
            field("ARC-Authentication-Results", results) + [0x0D, 0x0A]
                + field("ARC-Message-Signature", message) + [0x0D, 0x0A] + field("ARC-Seal", seal)
        )
        return
            "ARC-Seal:\(seal)\r\nARC-Message-Signature:\(message)\r\nARC-Authentication-Results:\(results)\r\n"
            + header.map { "\($0): \($1)\r\n" }.joined() + "\r\n\(body)"
    }

    @Test func `a chain passes, fails when the message is changed, and is mostly not there`()
        async throws
    {
        let domain = try SigningTestDomain()
        let message = try self.sealed(domain)
        let cases: [(String, String, [String])] = [
            (message, "pass", ["arc=pass"]),
            (message + "x", "fail", ["arc=fail reason=\"the body was changed\""]),
            ("From: b@example.net\r\n\r\nx\r\n", "none", []),
        ]
        for (text, result, results) in cases {
            let session = try await self.session(domain)
            #expect(try await session.message(text) == .declined)
            let note = session.note(.arc)
            #expect(note?["result"] == .string(result))
            #expect((session.note(.authenticationResults) ?? []) == results)
            if result == "pass" {
                #expect(note?["instances"] == .int(1) && note?["domain"] == .string("example.net"))
            }
        }
    }
}
