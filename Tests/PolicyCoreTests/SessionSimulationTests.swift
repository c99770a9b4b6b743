import SessionSimulator
import Testing

@Suite("Whole sessions at random")
struct SessionSimulationTests {
    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func `a seed plays without a violation, and everything comes to rest`(
        seed: UInt64
    ) throws(SessionSimulator.Violation) {
        let simulator = SessionSimulator(seed: seed)
        try simulator.run(steps: 5_000)
        #expect(simulator.counts.questions > 0)
    }

    @Test func `the same seed is the same play`() throws(SessionSimulator.Violation) {
        let (first, second) = (SessionSimulator(seed: 7), SessionSimulator(seed: 7))
        try first.run(steps: 10_000)
        try second.run(steps: 10_000)
        #expect(first.counts == second.counts)
    }
}
