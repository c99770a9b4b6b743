import Configuration
import SMTPCore
import Testing

@testable import Frontend

extension TickTime.Interval {
    /// Milliseconds that the client is charged.
    fileprivate static func ms(_ milliseconds: Int64) -> TickTime.Interval {
        TickTime.Interval(milliseconds: milliseconds, chargeableMS: milliseconds)
    }
}

/// Ticks are 100 ms long here, unless a test says otherwise.
struct ClientBudgetsTests {
    private typealias Progress = ClientBudgets.Progress

    /// A second for commands, two for a transaction, three for content, and one of slack at 1,000 octets
    /// a second.
    private static let limits: FrontendConfiguration.Budgets = {
        var limits = FrontendConfiguration.Budgets()
        (limits.commandMS, limits.envelopeMS, limits.dataMS) = (1_000, 2_000, 3_000)
        (limits.minimumRate, limits.slackMS, limits.commandsPerSecond) = (1_000, 1_000, 0)
        return limits
    }()

    /// How many ticks pass until `excess`; `nil` if it does not come in a thousand.
    ///
    /// `progress` is what the session has done at a tick.
    private static func ticks(
        _ budgets: inout ClientBudgets,
        turn: ClientBudgets.Turn?,
        until excess: ClientBudgets.Excess,
        limits: FrontendConfiguration.Budgets = Self.limits,
        _ progress: (Int) -> ClientBudgets.Progress = { _ in ClientBudgets.Progress() }
    ) -> Int? {
        for tick in 1...1_000 {
            guard let found = budgets.timePassed(.ms(100), turn: turn, progress(tick), limits)
            else {
                continue
            }
            #expect(found == excess)
            return tick
        }
        return nil
    }

    @Test(arguments: [
        (ClientBudgets.Turn.command, ClientBudgets.Excess.command, 11),
        (.envelope, .envelope, 21),
    ])
    func `a budget is over once more than it was charged`(
        turn: ClientBudgets.Turn,
        excess: ClientBudgets.Excess,
        ticks: Int
    ) {
        var budgets = ClientBudgets()
        #expect(Self.ticks(&budgets, turn: turn, until: excess) == ticks)
    }

    @Test func `the content of a message has a budget, however fast it comes`() {
        var budgets = ClientBudgets()
        let ticks = Self.ticks(&budgets, turn: .content, until: .data) {
            Progress(messages: 1, octets: $0 * 1_000_000)
        }
        #expect(ticks == 31)
    }

    @Test func `what is not the client's turn costs it nothing`() {
        var budgets = ClientBudgets()
        for _ in 0..<9 {
            for turn in [nil, nil, ClientBudgets.Turn.command, nil] {
                #expect(budgets.timePassed(.ms(100), turn: turn, Progress(), Self.limits) == nil)
            }
        }
        #expect(Self.ticks(&budgets, turn: .command, until: .command) == 2)
    }

    @Test func `a stall of ours costs the client one tick of bounded length`() {
        var time = TickTime(nowMS: 0)
        var budgets = ClientBudgets()
        let stalled = (1...5).map { (minute: Int64) -> ClientBudgets.Excess? in
            let before = time
            time.ticked(minute * 60_000)
            return budgets.timePassed(time.since(before), turn: .command, Progress(), Self.limits)
        }
        #expect(stalled == [nil, nil, nil, nil, .command])
    }

    @Test func `time of many ticks is charged as if it came tick by tick`() {
        var time = TickTime(nowMS: 1_000)
        let before = time
        for tick in 1...10 { time.ticked(1_000 + Int64(tick) * 100) }
        // A stall: of its 5,000 ms 250 are charged.
        time.ticked(7_000)
        #expect(time.since(before).milliseconds == 6_000)
        #expect(time.since(before).chargeableMS == 1_250)
        var budgets = ClientBudgets()
        #expect(
            budgets.timePassed(time.since(before), turn: .command, Progress(), Self.limits)
                == .command
        )
    }

    @Test func `what is left of a budget is told by the turn that it is`() {
        var budgets = ClientBudgets()
        _ = budgets.timePassed(.ms(400), turn: .command, Progress(), Self.limits)
        _ = budgets.timePassed(.ms(700), turn: .envelope, Progress(), Self.limits)
        #expect(budgets.leftMS(inTransaction: false, Self.limits) == 600)
        #expect(budgets.leftMS(inTransaction: true, Self.limits) == 1_300)
        var none = Self.limits
        (none.commandMS, none.envelopeMS) = (0, 0)
        #expect(budgets.leftMS(inTransaction: false, none) == nil)
        #expect(budgets.leftMS(inTransaction: true, none) == nil)
    }

    @Test func `commands and transactions without a message share out what they have`() {
        var budgets = ClientBudgets()
        // MAIL and RSET by turns begin nothing anew.
        for _ in 0..<10 {
            #expect(budgets.timePassed(.ms(100), turn: .command, Progress(), Self.limits) == nil)
            #expect(budgets.timePassed(.ms(100), turn: .envelope, Progress(), Self.limits) == nil)
        }
        #expect(budgets.timePassed(.ms(100), turn: .command, Progress(), Self.limits) == .command)
    }

    @Test func `a message begins all of them anew`() {
        var budgets = ClientBudgets()
        for message in 1...5 {
            let progress = Progress(messages: UInt64(message))
            #expect(Self.ticks(&budgets, turn: .command, until: .command) { _ in progress } == 11)
            #expect(Self.ticks(&budgets, turn: .envelope, until: .envelope) { _ in progress } == 21)
        }
    }

    @Test(arguments: [
        // Nothing comes: the slack is used up in a second.
        (octets: 0, ticks: 11 as Int?),
        // Half of the rate: in two seconds.
        (octets: 50, ticks: 20),
        // The rate itself, and more.
        (octets: 100, ticks: nil), (octets: 100_000, ticks: nil),
    ])
    func `a message slower than the least rate ends when its slack is used up`(
        octets: Int,
        ticks: Int?
    ) {
        var limits = Self.limits
        limits.dataMS = 0
        var budgets = ClientBudgets()
        let found = Self.ticks(&budgets, turn: .content, until: .dataRate, limits: limits) {
            Progress(messages: 1, octets: ($0 - 1) * octets)
        }
        #expect(found == ticks)
    }

    @Test func `octets that came fast give the slack back, and no more`() {
        var limits = Self.limits
        limits.dataMS = 0
        var budgets = ClientBudgets()
        func silence(octets: Int) -> Int? {
            let progress = Progress(messages: 1, octets: octets)
            return Self.ticks(&budgets, turn: .content, until: .dataRate, limits: limits) { _ in
                progress
            }
        }
        #expect(silence(octets: 0) == 11)
        // A megabyte at once is worth a second, not a thousand.
        #expect(silence(octets: 1_000_000) == 11)
        // 600 octets are worth 600 ms, 100 of which were owed.
        #expect(silence(octets: 1_000_600) == 6)
    }

    @Test func `a message is measured from its own beginning`() {
        var limits = Self.limits
        limits.dataMS = 0
        var budgets = ClientBudgets()
        // The first one leaves no slack, the second has as many octets as the first had.
        let first = Progress(messages: 1, octets: 5_000)
        #expect(
            Self.ticks(&budgets, turn: .content, until: .dataRate, limits: limits) { _ in first }
                == 11
        )
        let second = Progress(messages: 2, octets: 5_000)
        #expect(
            Self.ticks(&budgets, turn: .content, until: .dataRate, limits: limits) { _ in second }
                == 11
        )
    }

    @Test func `octets that come while it is not the client's turn count for it`() {
        var limits = Self.limits
        limits.dataMS = 0
        var budgets = ClientBudgets()
        for tick in 1...100 {
            let progress = Progress(messages: 1, octets: tick / 2 * 200)
            let turn: ClientBudgets.Turn? = tick.isMultiple(of: 2) ? nil : .content
            #expect(budgets.timePassed(.ms(100), turn: turn, progress, limits) == nil)
        }
    }

    @Test func `budgets and rates of 0 are none`() {
        var limits = FrontendConfiguration.Budgets()
        (limits.commandMS, limits.envelopeMS, limits.dataMS, limits.minimumRate) = (0, 0, 0, 0)
        var budgets = ClientBudgets()
        for turn in [ClientBudgets.Turn.command, .envelope, .content] {
            let ticks = Self.ticks(&budgets, turn: turn, until: .data, limits: limits) {
                Progress(messages: 1, commands: UInt64($0) * 1_000)
            }
            #expect(ticks == nil)
        }
    }

    // MARK: - Commands a second

    private static func rate(_ perSecond: Int) -> FrontendConfiguration.Budgets {
        var limits = FrontendConfiguration.Budgets()
        limits.commandsPerSecond = perSecond
        return limits
    }

    @Test(arguments: [
        // Twenty may come at once, and two more in each second: 0.2 of them in each tick.
        (perTick: 0, ticks: nil as Int?), (perTick: 1, ticks: 25), (perTick: 5, ticks: 5),
        (perTick: 20, ticks: 2), (perTick: 21, ticks: 1),
    ])
    func `commands beyond the rate end the session once their burst is used up`(
        perTick: Int,
        ticks: Int?
    ) {
        var budgets = ClientBudgets()
        let found = Self.ticks(
            &budgets,
            turn: .command,
            until: .commandRate,
            limits: Self.rate(2)
        ) { Progress(commands: UInt64($0 * perTick)) }
        #expect(found == ticks)
    }

    @Test func `a client that waits long enough may have its burst again`() {
        var budgets = ClientBudgets()
        let limits = Self.rate(2)
        for burst in 1...5 {
            let progress = Progress(commands: UInt64(20 * burst))
            for _ in 0..<100 {
                #expect(budgets.timePassed(.ms(100), turn: .command, progress, limits) == nil)
            }
        }
    }

    @Test func `while a question is open the session does not end, but then`() {
        var budgets = ClientBudgets()
        let progress = Progress(commands: 30)
        #expect(budgets.timePassed(.ms(100), turn: nil, progress, Self.rate(2)) == nil)
        #expect(
            budgets.timePassed(.ms(100), turn: .envelope, progress, Self.rate(2)) == .commandRate
        )
    }

    @Test func `a RCPT that waits for its answer at each tick is not charged each time`() {
        var budgets = ClientBudgets()
        let limits = Self.rate(1)
        for tick in 1...1_000 {
            let progress = Progress(commands: tick.isMultiple(of: 2) ? 3 : 2)
            #expect(budgets.timePassed(.ms(1), turn: .envelope, progress, limits) == nil)
        }
    }

    @Test func `each excess names its key and its reply`() {
        let excesses: [(ClientBudgets.Excess, String, SMTPReply)] = [
            (.command, "command_budget_ms", StandardReplies.timeout),
            (.envelope, "envelope_budget_ms", StandardReplies.timeout),
            (.data, "data_budget_ms", StandardReplies.timeout),
            (.dataRate, "data_minimum_rate", StandardReplies.tooSlow),
            (.commandRate, "max_commands_per_second", StandardReplies.tooFast),
        ]
        for (excess, key, reply) in excesses {
            #expect(excess.rawValue == key)
            #expect(excess.reply == reply)
            #expect(excess.reply.code.rawValue == 421)
        }
    }
}
