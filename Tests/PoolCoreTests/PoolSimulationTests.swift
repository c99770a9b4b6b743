import PoolCore
import PoolSimulator
import Testing

@Suite("Sessions and workers at random")
struct PoolSimulationTests {
    @Test(arguments: 1...20 as ClosedRange<UInt64>)
    func `a seed plays without a violation, and everything comes to rest`(
        seed: UInt64
    ) throws(PoolSimulator.Violation) {
        var simulator = PoolSimulator(seed: seed)
        try simulator.run(steps: 20_000)
        #expect(simulator.counts.submitted > 0)
    }

    @Test func `the same seed is the same play`() throws(PoolSimulator.Violation) {
        var first = PoolSimulator(seed: 7)
        var second = PoolSimulator(seed: 7)
        try first.run(steps: 30_000)
        try second.run(steps: 30_000)
        let counts = first.counts
        #expect(counts == second.counts)
    }

    @Test func `all that can happen happens`() throws(PoolSimulator.Violation) {
        var simulator = PoolSimulator(seed: 1)
        try simulator.run(steps: 400_000)
        let counts = simulator.counts
        for failure in PoolFailure.allCases { #expect(counts.failed[failure, default: 0] > 0) }
        #expect(counts.closed.count >= 4)
        #expect(counts.retried > 0 && counts.poisoned > 0 && counts.handedBack > 0)
        #expect(counts.wentAhead > 0 && counts.heldBack > 0)
        #expect(counts.pinged > 0 && counts.hangsAlone > 0 && counts.forgotten > 0)
    }
}
