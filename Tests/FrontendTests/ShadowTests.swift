import JSON
import PolicyProtocol
import Testing

@testable import Frontend

@Suite struct ShadowTests {
    @Test func `the same effect has nothing to do with names`() {
        var one = PolicyVerdict(id: 1, verdict: .deny)
        one.plugin = "old"
        one.reply = PolicyReply(code: 550, status: "5.7.1", text: ["No"])
        one.actions = [.replaceMessage(path: "a"), .delayReply(milliseconds: 5)]
        var other = one
        other.id = 2
        other.plugin = "new"
        other.actions[0] = .replaceMessage(path: "b")
        other.trace = [PluginAnswer(plugin: "new", verdict: .deny, microseconds: 9)]
        #expect(one.hasSameEffect(as: other))
    }

    @Test(
        arguments: [
            { $0.verdict = .denysoft }, { $0.reply?.text = ["Yes"] }, { $0.reply = nil },
            { $0.sessionNotes = .object([:]) }, { $0.transactionNotes = .object([:]) },
            { $0.actions = [.setRelay(true)] },
        ] as [@Sendable (inout PolicyVerdict) -> Void]
    )
    func `each part of an answer counts`(change: @Sendable (inout PolicyVerdict) -> Void) {
        var one = PolicyVerdict(id: 1, verdict: .deny)
        one.reply = PolicyReply(code: 550, status: "5.7.1", text: ["No"])
        var other = one
        change(&other)
        #expect(!one.hasSameEffect(as: other))
        #expect(!other.hasSameEffect(as: one))
    }

    @Test func `what is kept for a shadow has limits, and room again when it is given back`() {
        var budget = ShadowBudget()
        func take(_ octets: Int, _ message: Int? = nil) -> Bool {
            budget.take(
                ShadowBudget.Share(octets: octets, messageOctets: message),
                most: 100,
                mostMessageOctets: 50
            )
        }
        #expect(take(60))
        #expect(!take(41))
        #expect(take(40, 30))
        #expect(!take(0, 21))
        #expect(take(0, 20))
        #expect((budget.octets, budget.messages, budget.messageOctets) == (100, 2, 50))
        budget.give(ShadowBudget.Share(octets: 40, messageOctets: 30))
        #expect(take(40, 30))
        budget.give(ShadowBudget.Share(octets: 60, messageOctets: nil))
        budget.give(ShadowBudget.Share(octets: 40, messageOctets: 30))
        budget.give(ShadowBudget.Share(octets: 0, messageOctets: 20))
        #expect((budget.octets, budget.messages, budget.messageOctets) == (0, 0, 0))
        for _ in 0..<ShadowBudget.mostMessages { #expect(take(0, 0)) }
        #expect(!take(0, 0))
        #expect(!take(.max))
    }

    @Test func `an answer is told in a few words`() {
        var verdict = PolicyVerdict(id: 1, verdict: .declined)
        #expect(verdict.summary == "declined")
        verdict.verdict = .deny
        verdict.reply = PolicyReply(code: 550, status: "5.1.1", text: ["No such user", "at all"])
        verdict.plugin = "rcpt_map"
        verdict.sessionNotes = .object([:])
        verdict.actions = [.setRelay(true), .setRelay(false)]
        #expect(verdict.summary == "deny 550 5.1.1 No such user (rcpt_map), notes, 2 actions")
    }

    @Test func `ids of sessions are spread evenly over a hundred, for good`() {
        var identifiers = SessionIdentifierSource()
        var counts = [Int](repeating: 0, count: 100)
        for millisecond in 0..<100_000 {
            counts[
                PoolRoutes.share(
                    of: identifiers.next(milliseconds: 1_732_322_669_000 + Int64(millisecond))
                )
            ] += 1
        }
        // A thousand each, give or take six standard deviations.
        #expect(counts.allSatisfy { abs($0 - 1_000) < 190 })
        #expect(
            PoolRoutes.share(of: "01JD9X2T5QK7M3ZB") == PoolRoutes.share(of: "01JD9X2T5QK7M3ZB")
        )
    }
}
