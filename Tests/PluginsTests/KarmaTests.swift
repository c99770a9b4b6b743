import Addresses
import KarmaRecords
import PolicyKit
import PolicyKitTesting
import StandardPlugins
import Testing

@Suite struct KarmaRecordTests {
    private static let rules = KarmaRecord.Rules(strikes: 3, negative: 1, penaltyDays: 1)
    private static let now: Int64 = 1_732_322_669

    @Test(arguments: [
        (-3, KarmaRecord.Ending.penalty(days: 1)), (-2, .neutral), (2, .neutral), (3, .nice),
        (Int.min, .penalty(days: 1)), (Int.max, .nice),
    ])
    func `a first session`(karma: Int, ending: KarmaRecord.Ending) {
        var record = KarmaRecord()
        #expect(record.count(karma: karma, by: Self.rules, at: Self.now) == ending)
        #expect(record.connects == 1 && record.seen == Self.now)
        #expect(record.isPenalized(at: Self.now) == (ending == .penalty(days: 1)))
    }

    @Test func `good sessions outweigh a bad one`() {
        var record = KarmaRecord()
        for _ in 0..<2 { _ = record.count(karma: 5, by: Self.rules, at: Self.now) }
        for expected in [KarmaRecord.Ending.naughty, .naughty, .penalty(days: 1)] {
            #expect(record.count(karma: -5, by: Self.rules, at: Self.now) == expected)
        }
        #expect(record.history == -1 && record.penaltyDays(at: Self.now) == 1)
        #expect(record.penaltyDays(at: Self.now + 86_399) == 1)
        #expect(record.penaltyDays(at: Self.now + 86_400) == 0)
    }

    @Test func `a client that never was good stays away longer each time`() {
        var record = KarmaRecord()
        var days: [Int] = []
        for _ in 0..<7 {
            guard case .penalty(let more) = record.count(karma: -3, by: Self.rules, at: Self.now)
            else { break }
            days.append(more)
        }
        #expect(days == [1, 1, 1, 1, 1, 7, 8])
        #expect(record.lifetime(.seconds(60), at: Self.now) == .seconds(8 * 86_400))
    }

    @Test func `a value is read whole or not at all`() {
        var record = KarmaRecord()
        record.until = 7
        record.naughty = 1
        record.nice = 2
        record.connects = 3
        record.seen = 4
        #expect(record.value == "7:1:2:3:4" && KarmaRecord(record.value) == record)
        for text in [
            "", "1:2:3:4", "1:2:3:4:5:6", "1:2:3:4:", "1:2:3:4:-5", "1:2:3:4: 5", "a:2:3:4:5",
            "1:1000000001:3:4:5", "1:2:3:4:1234567890123456789",
        ] {
            #expect(KarmaRecord(Bytes(text)) == nil, "\(text)")
        }
        for _ in 0..<2_000 {
            let octets = (0..<Int.random(in: 0...24)).map { _ in UInt8.random(in: 0x2E...0x3B) }
            guard let read = KarmaRecord(Bytes(octets: octets)) else { continue }
            #expect(KarmaRecord(read.value) == read)
        }
    }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ])
    func `a client is its address or its network`(ip: String, key: String) throws {
        #expect(KarmaRecord.key(try #require(IPAddress(parsing: ip))) == Bytes(key))
    }
}

@Suite struct KarmaTests {
    /// Grants every recipient.
    private struct Grants: RcptHook {
        static let name = "grants"

        init(configuration: PluginConfiguration) {}

        func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }
    }

    private func session(
        _ line: String = "karma reject 1",
        _ files: [String: String] = [:]
    ) async throws -> TestSession {
        try await TestSession([Karma.self, Grants.self], plugins: "\(line)\ngrants", files: files)
    }

    private func ended(_ session: TestSession, karma: Int) async throws {
        session.setNote(.karma, to: karma)
        try await session.notify(.disconnect, ["reason": .string("quit"), "duration_ms": .int(1)])
        session.setNote(.karma, to: nil)
        session.setNote(.karmaHistory, to: nil)
    }

    @Test func `a bad client may not come back for a day`() async throws {
        let session = try await self.session()
        #expect(try await session.connect() == .declined)
        try await self.ended(session, karma: -3)
        let refused = Answer.denyDisconnect(
            "You were naughty. You cannot connect for 1 more day.",
            status: "5.7.1"
        )
        #expect(try await session.connect() == refused)
        #expect(session.note(.karmaHistory) == -1)
        session.clock.advance(by: .seconds(86_399))
        #expect(try await session.connect() == refused)
        session.clock.advance(by: .seconds(1))
        #expect(try await session.connect() == .declined)
        #expect(session.note(.karmaHistory) == -1)
    }

    @Test func `a good client has a history, which expires`() async throws {
        let session = try await self.session("karma expire 10d")
        for _ in 0..<3 { try await self.ended(session, karma: 3) }
        try await self.ended(session, karma: 1)
        #expect(try await session.connect() == .declined)
        #expect(session.note(.karmaHistory) == 3)
        let value = try await session.store.get("karma/192.0.2.1")?.string
        #expect(value?.hasPrefix("0:0:3:4:") == true)
        session.setNote(.karmaHistory, to: nil)
        session.clock.advance(by: .seconds(10 * 86_400))
        #expect(try await session.connect() == .declined)
        #expect(session.note(.karmaHistory) == nil)
    }

    @Test func `a session without karma, and one of a relay client, leave nothing`() async throws {
        let session = try await self.session()
        try await self.ended(session, karma: 0)
        session.relay = true
        try await self.ended(session, karma: -9)
        #expect(try await session.store.scan(prefix: "", limit: 1).isEmpty)
    }

    @Test func `by default a flag is left, and an immune client is not looked at`() async throws {
        let session = try await self.session("karma")
        try await self.ended(session, karma: -9)
        #expect(try await session.connect() == .declined)
        #expect(session.note(.naughty)?.first?.plugin == "karma")
        #expect(session.note(.naughty)?.first?.type == .disconnect)
        session.setNote(.naughty, to: nil)
        session.setNote(.whitelisthost, to: .bool(true))
        #expect(try await session.connect() == .declined)
        #expect(session.note(.naughty) == nil)
    }

    @Test func `top-level domains change karma once a session`() async throws {
        let files = ["karma_tlds": "top:-2\n .example : +1\n"]
        let session = try await self.session("karma", files)
        for sender in ["a@b.TOP", "c@d.top", "e@f.org", ""] { try await session.mail(from: sender) }
        #expect(session.note(.karma) == -2)
        try await session.mail(from: "a@b.example")
        #expect(session.note(.karma) == -1)
    }

    @Test(arguments: ["top", "top:", "top:many", "top:-2:3", "top:101"])
    func `a line of karma_tlds that cannot be read is named`(line: String) async throws {
        await #expect(throws: PluginProblems.self) {
            try await self.session("karma", ["karma_tlds": line])
        }
    }

    @Test func `a client that is not known may have so many recipients`() async throws {
        let session = try await self.session("karma unknown_rcpts 1")
        try await session.mail(from: "bob@example.net")
        #expect(try await session.rcpt(to: "a@example.com") == .ok)
        let refused = Answer.denysoft(
            "Too many recipients for a client that is not known",
            code: 452,
            status: "4.5.3"
        )
        #expect(try await session.rcpt(to: "b@example.com") == refused)
        session.setNote(.karmaHistory, to: 1)
        #expect(try await session.rcpt(to: "b@example.com") == .ok)
        session.setNote(.karmaHistory, to: -1)
        session.setNote(.karma, to: 1)
        #expect(try await session.rcpt(to: "b@example.com") == .ok)
    }

    @Test(arguments: [(-4, false), (-5, true)])
    func `a session that became very bad sends no message`(karma: Int, isRefused: Bool) async throws
    {
        let session = try await self.session()
        try await session.mail(from: "bob@example.net")
        session.setNote(.karma, to: karma)
        let answer = try await session.data()
        let refusal = Answer.denyDisconnect("very bad karma: \(karma)", status: "5.7.1")
        #expect(answer == (isRefused ? refusal : .declined))
    }

    @Test func `what is no record is passed over, and counted anew`() async throws {
        let session = try await self.session()
        try await session.store.set("karma/192.0.2.1", to: "nonsense", expiresIn: nil)
        #expect(try await session.connect() == .declined)
        try await self.ended(session, karma: 4)
        #expect(try await session.connect() == .declined)
        #expect(session.note(.karmaHistory) == 1)
    }
}
