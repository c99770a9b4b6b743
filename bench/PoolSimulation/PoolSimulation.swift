import Glibc
import PoolCore
import PoolSimulator

/// Runs the simulation of a pool of workers: `pool-simulation [--steps N] [--seed N]`.
///
/// Prints the counts. On a violation it prints the seed, the step and the steps before, and exits
/// with 1.
@main
enum PoolSimulation {
    static func main() {
        guard let options = SimulationOptions(CommandLine.arguments.dropFirst()) else {
            print("usage: pool-simulation [--steps N] [--seed N]")
            exit(64)
        }
        let clock = ContinuousClock()
        let start = clock.now
        var simulator = PoolSimulator(seed: options.seed)
        do throws(PoolSimulator.Violation) {
            try simulator.run(steps: options.steps)
        } catch {
            Self.explain(error, options)
            exit(1)
        }
        print("\(options.steps) steps, seed \(options.seed), \(clock.now - start)")
        print(Self.description(of: simulator.counts))
    }

    /// Plays the seed again and prints the last steps.
    private static func explain(
        _ violation: PoolSimulator.Violation,
        _ options: SimulationOptions
    ) {
        var again = PoolSimulator(seed: options.seed, logFrom: violation.step - 60)
        try? again.run(steps: options.steps)
        for line in again.logLines { print(line) }
        print("violation at step \(violation.step), seed \(options.seed): \(violation.rule)")
    }

    private static func description(of counts: PoolSimulator.Counts) -> String {
        let failed = counts.failed.map { "\($0.key.rawValue) \($0.value)" }.sorted()
        let closed = counts.closed.map { "\($0.key.rawValue) \($0.value)" }.sorted()
        return """
            submitted \(counts.submitted), sent \(counts.sent), retried \(counts.retried)
            answered \(counts.answered), cancelled \(counts.cancelled), passed over \(counts.passedOver)
            failed: \(failed.joined(separator: ", "))
            stale \(counts.stale), handed back \(counts.handedBack), went ahead \(counts.wentAhead), poisoned \(counts.poisoned)
            workers \(counts.workers), deaths \(counts.deaths), refused \(counts.refused)
            closed: \(closed.joined(separator: ", "))
            """
    }
}
