import SMTPCore
import Testing

@testable import Frontend

struct SmallPartsTests {
    @Test func `session ids are sixteen characters, ordered by time and never the same`() {
        var source = SessionIdentifierSource()
        let early = source.next(milliseconds: 1_700_000_000_000)
        let late = source.next(milliseconds: 1_700_000_000_001)
        #expect(early.utf8.count == 16)
        #expect(early.prefix(9) <= late.prefix(9))
        let later = source.next(milliseconds: 1_700_000_100_000)
        #expect(early < later)
        var seen: Set<String> = []
        for _ in 0..<10_000 { seen.insert(source.next(milliseconds: 5)) }
        #expect(seen.count == 10_000)
    }

    @Test func `a budget of memory is used up above it, and free again an eighth below it`() {
        var budget = MemoryBudget(octets: 800)
        let held = [0, 800, 801, 800, 701, 700, 800, 900, 0]
        let changes = held.map { budget.measured($0) ? (budget.isUsedUp ? "used up" : "free") : "" }
        #expect(changes == ["", "", "used up", "", "", "free", "", "used up", "free"])
        budget.octets = 0
        #expect(!budget.measured(.max) && !budget.isUsedUp)
    }

    @Test(arguments: [
        // Two for each session; 64, two for each socket and one for each worker are set aside.
        (limit: 1_024, pools: [64], configured: 2_000, sessions: 446),
        (limit: 1_024, pools: [64], configured: 0, sessions: 446),
        (limit: 1_024, pools: [64], configured: 446, sessions: 446),
        (limit: 1_024, pools: [64], configured: 10, sessions: 10),
        (limit: 1_024, pools: [64, 100], configured: 0, sessions: 395),
        // Never more than half is set aside.
        (limit: 1_024, pools: [.max, 1], configured: 0, sessions: 256),
        (limit: 3, pools: [64], configured: 0, sessions: 1),
        (limit: 0, pools: [], configured: 0, sessions: 1),
        (limit: .max, pools: [64], configured: 2_000, sessions: 2_000),
    ])
    func `sessions leave descriptors to everything else`(
        limit: Int,
        pools: [Int],
        configured: Int,
        sessions: Int
    ) {
        let plan = DescriptorPlan(limit: limit, listeners: 1, pools: pools)
        #expect(plan.maximumSessions(configured) == sessions)
    }

    @Test func `lines beyond a period's number are counted, and the number is told once`() {
        var throttle = LogThrottle(lines: 2, periodMS: 100)
        let admitted = [0, 50, 99, 99, 100, 100, 300].map { throttle.admits(now: $0) }
        #expect(admitted == [0, 0, nil, nil, 2, 0, 0])
        #expect(throttle.suppressed == 0)
    }

    @Test func `a pass holds for its lifetime`() {
        var passes = GreetingPasses(lifetimeMilliseconds: 100, capacity: 2)
        #expect(!passes.hasPassed("a", now: 0))
        passes.passed("a", now: 0)
        #expect(passes.hasPassed("a", now: 99))
        #expect(!passes.hasPassed("a", now: 100))
        passes.passed("b", now: 0)
        passes.passed("c", now: 0)
        #expect(!passes.hasPassed("a", now: 1))
        #expect(passes.hasPassed("c", now: 1))
    }

    @Test(arguments: [
        (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
        (1_732_322_669, "Sat, 23 Nov 2024 00:44:29 +0000"),
    ])
    func `a date reads as RFC 5322 has it`(seconds: Int, text: String) {
        #expect(RFC5322Date.text(seconds) == text)
    }

    @Test func `the date of a second is made once, and anew for the next`() {
        var cache = DateCache()
        #expect(cache.text(0) == Array(RFC5322Date.text(0).utf8))
        #expect(cache.text(0) == Array(RFC5322Date.text(0).utf8))
        #expect(cache.text(1) == Array(RFC5322Date.text(1).utf8))
    }
}
