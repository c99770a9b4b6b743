import DMARC
import DomainNames
import PublicSuffixes
import Testing

/// Plays a DNS: names with TXT records, names that fail, names that do not exist.
private struct Zone {
    var records: [String: [String]] = [:]
    var failing: Set<String> = []
    var missing: Set<String> = []

    func answer(_ question: DMARCCheck.Question) -> DMARCCheck.Answer {
        switch question {
        case .record(let name):
            self.failing.contains(name.text)
                ? .failed : .records((self.records[name.text] ?? []).map { Array($0.utf8) })
        case .existence(let name):
            self.failing.contains(name.text) ? .failed : .exists(!self.missing.contains(name.text))
        }
    }
}

struct DMARCCheckTests {
    private func check(
        _ author: String,
        spf: String? = nil,
        dkim: [String] = [],
        pending: String? = nil,
        _ records: [String: String],
        failing: Set<String> = [],
        missing: Set<String> = [],
        suffixes: PublicSuffixList? = nil
    ) throws -> (finding: DMARCFinding, questions: [String]) {
        let zone = Zone(records: records.mapValues { [$0] }, failing: failing, missing: missing)
        var identifiers: [DMARCIdentifier] = []
        if let spf { identifiers.append(.init(.spf, try #require(DNSName(spf)))) }
        for domain in dkim { identifiers.append(.init(.dkim, try #require(DNSName(domain)))) }
        if let pending {
            identifiers.append(.init(.dkim, try #require(DNSName(pending)), isPending: true))
        }
        return try self.run(
            DMARCCheck(
                author: try #require(DNSName(author)),
                identifiers: identifiers,
                suffixes: suffixes
            ),
            zone
        )
    }

    private func run(
        _ check: DMARCCheck,
        _ zone: Zone
    ) throws -> (finding: DMARCFinding, questions: [String]) {
        var check = check
        var questions: [String] = []
        while case .ask(let question) = check.next {
            switch question {
            case .record(let name): questions.append(name.text)
            case .existence(let name): questions.append("exists \(name.text)")
            }
            check.answer(question, zone.answer(question))
            try #require(questions.count <= DMARCCheck.maximumQuestions)
        }
        guard case .finished(let finding) = check.next else {
            return (DMARCFinding(result: .none), questions)
        }
        return (finding, questions)
    }

    private static let reject = ["_dmarc.example.org": "v=DMARC1; p=reject"]

    @Test func `an identifier that is the author's domain passes with one question`() throws {
        for (spf, dkim) in [("example.org", []), (nil, ["example.org"])] as [(String?, [String])] {
            let (finding, questions) = try self.check(
                "example.org",
                spf: spf,
                dkim: dkim,
                Self.reject
            )
            #expect(finding.result == .pass)
            #expect(finding.isSPFAligned == (spf != nil) && finding.isDKIMAligned == !dkim.isEmpty)
            #expect(questions == ["_dmarc.example.org"])
        }
    }

    @Test(arguments: [
        // author, identifier, record, aligned
        ("example.org", "mail.example.org", "", true),
        ("mail.example.org", "example.org", "", true),
        ("a.example.org", "b.example.org", "", true),
        ("example.org", "example.com", "", false),
        ("example.org", "notexample.org", "", false),
        ("example.org", "org", "", false),
        ("example.org", "mail.example.org", "; aspf=s; adkim=s", false),
        ("example.org", "example.org", "; aspf=s; adkim=s", true),
    ])
    func `domains of one organisation are aligned`(
        author: String,
        identifier: String,
        tags: String,
        isAligned: Bool
    ) throws {
        let records = ["_dmarc.example.org": "v=DMARC1; p=reject\(tags)"]
        let bySPF = try self.check(author, spf: identifier, records).finding
        let byDKIM = try self.check(author, dkim: ["x.example", identifier], records).finding
        #expect(bySPF.result == (isAligned ? .pass : .fail) && bySPF.isSPFAligned == isAligned)
        #expect(byDKIM.result == (isAligned ? .pass : .fail) && byDKIM.isDKIMAligned == isAligned)
        #expect(bySPF.policyDomain?.text == "example.org")
    }

    @Test func `nothing is asked about domains of another tree`() throws {
        for domain in ["notexample.org", "evil.example"] {
            let questions = try self.check("example.org", spf: domain, Self.reject).questions
            #expect(questions == ["_dmarc.example.org", "_dmarc.org"])
        }
    }

    @Test func `the modes of SPF and DKIM are told apart`() throws {
        let records = ["_dmarc.example.org": "v=DMARC1; p=reject; aspf=s; adkim=r"]
        #expect(
            try self.check("example.org", spf: "a.example.org", records).finding.result == .fail
        )
        #expect(
            try self.check("example.org", dkim: ["a.example.org"], records).finding.result == .pass
        )
    }

    /// RFC 9989 §4.10.
    @Test func `a walk has eight names at most`() throws {
        let deep = try #require(DNSName("a.b.c.d.e.f.g.h.i.j.mail.example.com"))
        #expect(
            DMARCCheck.targets(of: deep).map(\.text) == [
                "a.b.c.d.e.f.g.h.i.j.mail.example.com", "g.h.i.j.mail.example.com",
                "h.i.j.mail.example.com", "i.j.mail.example.com", "j.mail.example.com",
                "mail.example.com", "example.com", "com",
            ]
        )
        let eight = try #require(DNSName("1.2.3.4.5.6.example.com"))
        #expect(DMARCCheck.targets(of: eight).count == 8)
        let (finding, questions) = try self.check(
            "a.b.c.d.e.f.g.h.i.j.k.example.com",
            dkim: ["signing.example.com"],
            ["_dmarc.example.com": "v=DMARC1; p=reject", "_dmarc.signing.example.com": "v=DMARC1"]
        )
        #expect(finding.result == .pass)
        #expect(questions.count == 9)
    }

    /// RFC 9989 appendix B.4.
    @Test func `a public suffix says so`() throws {
        let records = [
            "_dmarc.bank.example": "v=DMARC1; psd=y; p=quarantine; sp=reject",
            "_dmarc.giant.bank.example": "v=DMARC1; p=reject",
        ]
        let author = "giant.bank.example"
        #expect(
            try self.check(author, spf: "mail.giant.bank.example", records).finding.result == .pass
        )
        let failed = try self.check(author, dkim: ["mail.mega.bank.example"], records)
        #expect(failed.finding.result == .fail && failed.finding.policyDomain?.text == author)
        #expect(!failed.questions.contains("_dmarc.example"))
        // Of an organisation without a record the suffix's counts, for a domain below it.
        let mega = try self.check("mega.bank.example", records).finding
        #expect(mega.policy == .reject && mega.policyDomain?.text == "bank.example")
        #expect(try self.check("bank.example", records).finding.policy == .quarantine)
        #expect(
            try self.check("x.mega.bank.example", spf: "mega.bank.example", records).finding.result
                == .pass
        )
    }

    @Test func `psd n ends the organisation`() throws {
        let records = [
            "_dmarc.example.org": "v=DMARC1; p=none",
            "_dmarc.dep.example.org": "v=DMARC1; p=reject; psd=n",
        ]
        #expect(
            try self.check("a.dep.example.org", spf: "dep.example.org", records).finding.result
                == .pass
        )
        let other = try self.check("a.dep.example.org", spf: "example.org", records).finding
        #expect(other.result == .fail && other.policy == .reject)
    }

    @Test func `of several records above a domain the highest counts`() throws {
        let records = [
            "_dmarc.b.example.org": "v=DMARC1; p=none",
            "_dmarc.example.org": "v=DMARC1; p=none; sp=reject",
        ]
        #expect(
            try self.check("a.b.example.org", records).finding.policyDomain?.text == "example.org"
        )
        #expect(try self.check("b.example.org", records).finding.policy == DMARCPolicy.none)
    }

    @Test(arguments: [
        // tags, exists, policy, whether existence is asked for
        ("p=reject", true, DMARCPolicy.reject, false),
        ("p=reject; sp=none", true, DMARCPolicy.none, false),
        ("p=none; np=reject", true, DMARCPolicy.none, true),
        ("p=none; np=reject", false, .reject, true),
        ("p=none; sp=quarantine; np=reject", true, .quarantine, true),
        ("p=none; sp=reject; np=reject", false, .reject, false),
        ("p=none; sp=quarantine", false, .quarantine, false),
        ("p=none; np=reject; t=y", false, .quarantine, true),
        ("p=quarantine; t=y", true, DMARCPolicy.none, false),
    ])
    func `a domain below has sp, or np if it does not exist`(
        tags: String,
        exists: Bool,
        policy: DMARCPolicy,
        isAsked: Bool
    ) throws {
        let (finding, questions) = try self.check(
            "sub.example.org",
            ["_dmarc.example.org": "v=DMARC1; \(tags)"],
            missing: exists ? [] : ["sub.example.org"]
        )
        #expect(finding.policy == policy)
        #expect(questions.contains("exists sub.example.org") == isAsked)
        // The domain itself has p, whatever there is.
        let own = try self.check("example.org", ["_dmarc.example.org": "v=DMARC1; \(tags)"])
        #expect(!own.questions.contains("exists example.org"))
    }

    @Test func `several records at a name are none`() throws {
        let author = try #require(DNSName("example.org"))
        let both = ["v=DMARC1; p=reject", "v=DMARC1; p=none"]
        let zone = Zone(records: ["_dmarc.example.org": both])
        let check = DMARCCheck(author: author, identifiers: [])
        #expect(try self.run(check, zone).finding == DMARCFinding(result: .none))
        let other = Zone(records: ["_dmarc.example.org": ["x", both[0], "v=spf1 -all"]])
        #expect(try self.run(check, other).finding.policy == .reject)
    }

    @Test func `no record is none, an unusable one is permerror`() throws {
        let none = try self.check("a.example.org", [:])
        #expect(none.finding == DMARCFinding(result: .none))
        #expect(none.questions == ["_dmarc.a.example.org", "_dmarc.example.org", "_dmarc.org"])
        let broken = ["_dmarc.example.org": "v=DMARC1; p=x"]
        #expect(try self.check("example.org", broken).finding.result == .permerror)
    }

    @Test func `no answer is temperror, unless another identifier passes`() throws {
        let failing: Set = ["_dmarc.example.org"]
        #expect(
            try self.check("example.org", spf: "example.org", [:], failing: failing).finding.result
                == .temperror
        )
        let np = ["_dmarc.example.org": "v=DMARC1; p=none; np=reject"]
        #expect(
            try self.check("a.example.org", np, failing: ["a.example.org"]).finding.result
                == .temperror
        )
        // Where the organisation ends is not known.
        let silent: Set = ["_dmarc.org"]
        #expect(
            try self.check("example.org", spf: "a.example.org", Self.reject, failing: silent)
                .finding.result == .temperror
        )
        #expect(
            try self.check(
                "example.org",
                spf: "a.example.org",
                dkim: ["example.org"],
                Self.reject,
                failing: silent
            )
            .finding.result == .pass
        )
        #expect(try self.check("example.org", Self.reject, failing: silent).finding.result == .fail)
    }

    @Test func `a check of DKIM without an end leaves it open only where it is aligned`() throws {
        #expect(
            try self.check("example.org", pending: "a.example.org", Self.reject).finding.result
                == .temperror
        )
        #expect(
            try self.check("example.org", pending: "evil.example", Self.reject).finding.result
                == .fail
        )
        #expect(
            try self.check("example.org", spf: "example.org", pending: "example.org", Self.reject)
                .finding.result == .pass
        )
    }

    @Test func `a list of suffixes takes the place of the walk`() throws {
        let list = PublicSuffixList(Array("org\nco.example\n".utf8))
        let records = [
            "_dmarc.a.co.example": "v=DMARC1; p=reject",
            "_dmarc.co.example": "v=DMARC1; p=none; psd=y",
        ]
        let (finding, questions) = try self.check(
            "x.a.co.example",
            spf: "y.a.co.example",
            records,
            suffixes: list
        )
        #expect(finding.result == .pass && finding.policyDomain?.text == "a.co.example")
        #expect(questions == ["_dmarc.x.a.co.example", "_dmarc.a.co.example"])
        #expect(try self.check("b.co.example", records, suffixes: list).finding.result == .none)
    }

    @Test func `a check has a limit of questions`() throws {
        let deep = (0..<DMARCCheck.maximumIdentifiers).map { "\($0).a.b.c.d.e.example.org" }
        let records = ["_dmarc.example.org": "v=DMARC1; p=reject; psd=n"]
        let (finding, questions) = try self.check(
            "example.org",
            dkim: deep.map { "x.\($0)" } + deep,
            records
        )
        #expect(questions.count <= DMARCCheck.maximumQuestions)
        #expect(finding.result == .pass || finding.result == .temperror)
    }

    @Test func `a name that is too long has no record`() throws {
        let long =
            (0..<4).map { _ in String(repeating: "a", count: 60) }.joined(separator: ".")
            + ".example"
        #expect(try self.check(long, [:]).finding.result == .none)
    }
}
