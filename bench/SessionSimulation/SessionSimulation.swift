import Glibc
import PoolSimulator
import SessionSimulator

/// Runs the simulation of whole sessions: `session-simulation [--steps N] [--seed N]`.
///
/// Prints the counts. On a violation it prints the seed, the step and the steps before, and exits
/// with 1.
@main
enum SessionSimulation {
    static func main() {
        guard let options = SimulationOptions(CommandLine.arguments.dropFirst()) else {
            print("usage: session-simulation [--steps N] [--seed N]")
            exit(64)
        }
        let clock = ContinuousClock()
        let start = clock.now
        let simulator = SessionSimulator(seed: options.seed)
        do throws(SessionSimulator.Violation) {
            try simulator.run(steps: options.steps)
        } catch {
            Self.explain(error, options)
            exit(1)
        }
        print("\(options.steps) steps, seed \(options.seed), \(clock.now - start)")
        print(simulator.counts)
        // In so many steps, all that can happen does.
        guard options.steps < 1_000_000 || simulator.counts.missing.isEmpty else {
            print("never happened: \(simulator.counts.missing.joined(separator: ", "))")
            exit(1)
        }
    }

    /// Plays the seed again and prints the last steps.
    private static func explain(
        _ violation: SessionSimulator.Violation,
        _ options: SimulationOptions
    ) {
        let again = SessionSimulator(seed: options.seed, traceFrom: violation.step - 60)
        try? again.run(steps: options.steps)
        for line in again.trace { print(line) }
        print("violation at step \(violation.step), seed \(options.seed): \(violation.rule)")
    }
}
