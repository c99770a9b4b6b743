import Glibc
import JSON
import PolicyCore
import PolicyProtocol
import SMTPCore
import SessionPlay
import Testing

/// A rule of protocol/, named by words of the sentence that states it, and a session that shows it.
///
/// `ProtocolRuleTests` looks each quotation up in its document, so a rule that is worded anew is looked
/// at anew.
struct ProtocolRule: Sendable, CustomTestStringConvertible {
    let quotation: String
    let check: @Sendable () throws -> Void

    init(_ quotation: String, _ check: @escaping @Sendable () throws -> Void) {
        self.quotation = quotation
        self.check = check
    }

    var testDescription: String { self.quotation }
}

/// A document of protocol/: the text below each of its headings, without its examples.
struct ProtocolDocument {
    let sections: [(heading: String, text: String)]

    init(_ name: String) throws {
        let folder = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let file = try #require(fopen("/\(folder)/protocol/\(name)", "r"))
        defer { fclose(file) }
        var octets = [UInt8](repeating: 0, count: 1 << 20)
        octets.removeSubrange(fread(&octets, 1, octets.count, file)...)
        var sections: [(heading: String, text: String)] = []
        var isExample = false
        for line in String(decoding: octets, as: UTF8.self).split(separator: "\n") {
            if line.hasPrefix("```") {
                isExample.toggle()
            } else if line.hasPrefix("#") {
                sections.append((line.drop { "# ".contains($0) }.description, ""))
            } else if !isExample, !sections.isEmpty {
                sections[sections.count - 1].text += "\(line) "
            }
        }
        self.sections = sections
    }

    /// The heading of the section that has these words; `nil` if none has.
    func heading(of quotation: String) -> String? {
        self.sections.first { Self.words($0.text).contains(Self.words(quotation)) }?.heading
    }

    private static func words(_ text: String) -> String {
        text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }
}

@Suite struct ProtocolRuleTests {
    @Test(arguments: [
        ("events.md", EventRules.all),
        ("verdicts.md", VerdictRules.all),
        ("failure.md", FailureRules.all),
    ])
    func `a rule that is tested stands in its document`(
        name: String,
        rules: [ProtocolRule]
    ) throws {
        let document = try ProtocolDocument(name)
        for rule in rules {
            #expect(document.heading(of: rule.quotation) != nil, "\(name): \(rule.quotation)")
        }
    }

    /// A heading without a row, and where its rules are tested.
    private static let testedElsewhere = [
        // StatusNoticeTests, in FrontendTests.
        "`status`",
        // VerdictTableTests reads the table itself.
        "Verdict × hook",
        // InvalidVerdictTests has a row for each violation.
        "Invalid verdicts",
        // RecipientRefusalTests has a row for each line of its table.
        "Single recipients",
        // Headings that only hold others.
        "Events: what is asked", "Hooks that ask", "Hooks that only tell",
    ]

    @Test(arguments: [("events.md", EventRules.all), ("verdicts.md", VerdictRules.all)])
    func `each heading has a rule that is tested`(name: String, rules: [ProtocolRule]) throws {
        let document = try ProtocolDocument(name)
        let tested = Set(rules.compactMap { document.heading(of: $0.quotation) })
        let headings = Set(document.sections.map(\.heading))
        #expect(headings.subtracting(tested).subtracting(Self.testedElsewhere) == [])
    }
}

// MARK: - Sessions for rules

/// A session that is played up to a question.
enum RulePlay {
    static let observed: [Hook] = [.ok, .deny, .queue_post, .reset_transaction, .disconnect]
    /// What the client says until its message is answered; a line that is sent while a hook is open waits.
    static let lines = [
        "EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA", "A: b", "", "x", ".",
    ]
    static let smtp = SMTPConfiguration(hostname: Array("mx".utf8))

    /// A session whose pool is asked about `hook` now; all hooks before were granted.
    static func at(
        _ hook: Hook,
        saying lines: [String] = Self.lines,
        asked: [Hook] = PlayedPools.askedHooks,
        needs: Needs = [],
        smtp: SMTPConfiguration = Self.smtp,
        onFailure: FailurePolicy = .tempfail
    ) -> PlayedSession {
        let play = self.session(
            asked: asked,
            needs: needs,
            smtp: smtp,
            onFailure: onFailure
        )
        play.grant(until: hook)
        for line in lines where play.openHook != hook { play.say(line, until: hook) }
        if case .store = play.wait { play.stored() }
        #expect(play.openHook == hook)
        return play
    }

    /// A session whose client has connected; its pool is asked about every hook and told the rest.
    static func session(
        _ names: [String] = ["default"],
        asked: [Hook] = PlayedPools.askedHooks,
        needs: Needs = [],
        smtp: SMTPConfiguration = Self.smtp,
        onFailure: FailurePolicy = .tempfail
    ) -> PlayedSession {
        let pools = PlayedPools(names)
        for pool in names.indices {
            pools.register(
                pool,
                asked: asked,
                observed: pool == 0 ? Self.observed : [],
                needs: asked.reduce(into: [:]) { $0[$1] = needs }
            )
            pools.profiles[pool].failurePolicies = [FailurePolicy](
                repeating: onFailure,
                count: Hook.allCases.count
            )
        }
        let play = pools.session(smtp)
        play.observerNeeds = needs
        play.connect()
        return play
    }
}

extension PlayedSession {
    /// The client sends a line, and all is granted until `hook` is asked about.
    func say(_ line: String, until hook: Hook? = nil) {
        self.send(line)
        self.grant(until: hook)
    }

    /// The open question as its worker reads it.
    func question(_ needs: Needs = []) throws -> JSONValue {
        try JSONValue(parsing: Array(try #require(self.event(needs: needs)).dropLast()))
    }

    /// The worker answers with a verdict of these members.
    ///
    /// - Returns: What is wrong with it; then the question is open still.
    @discardableResult
    func verdict(_ members: String) throws -> ViolationCode? {
        let line = Array(#"{"type":"verdict","id":1,\#(members)}"#.utf8)
        guard case .verdict(_, let result) = try WorkerMessage.decode(line) else {
            Issue.record("no verdict: \(members)")
            return nil
        }
        switch result {
        case .success(let verdict): return self.answer(verdict)?.code
        case .failure(let violation): return violation.code
        }
    }

    /// The worker declines, with these actions.
    @discardableResult
    func decline(_ actions: String) throws -> ViolationCode? {
        try self.verdict(#""verdict":"declined","actions":[\#(actions)]"#)
    }

    /// What observers of `hook` read, in order.
    func notices(_ hook: Hook) throws -> [JSONValue] {
        try self.told.filter { $0.hook == hook }.map {
            try JSONValue(parsing: Array($0.line.dropLast()))
        }
    }

    var lastCode: UInt16? { self.replies.last?.code.rawValue }

    /// The text of the last reply, as it is sent.
    var lastWire: String { String(decoding: self.replies.last?.wire ?? [], as: UTF8.self) }

    /// Names and values of the header fields in the open question.
    func fields() throws -> [String] {
        try self.question(.headers)["transaction"]?["headers"]?.list.map {
            "\($0["name"].text)\($0["space"].text):\($0["value"].text)"
        } ?? []
    }

    /// The ids and addresses of the envelope's recipients.
    var envelope: [String] {
        self.recipients.map { "\($0.id) \(String(decoding: $0.address.address, as: UTF8.self))" }
    }
}

extension JSONValue {
    init(text: String) throws { try self.init(parsing: Array(text.utf8)) }

    var list: [JSONValue] { if case .array(let list) = self { list } else { [] } }
}

extension JSONValue? {
    /// The string; empty if this is none.
    var text: String { if case .string(let text)? = self { text } else { "" } }
}
