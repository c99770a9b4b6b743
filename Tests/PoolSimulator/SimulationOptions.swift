/// The words of a simulation's command line: `[--steps N] [--seed N]`.
package struct SimulationOptions {
    package var steps = 1_000_000
    package var seed: UInt64 = 1

    /// Reads the words after the program's name; `nil` if they are others, or `N` is no number above 0.
    package init?(_ words: some Collection<String>) {
        var words = Array(words)[...]
        while let word = words.popFirst() {
            guard let value = words.popFirst() else { return nil }
            switch word {
            case "--steps":
                guard let steps = Int(value), steps > 0 else { return nil }
                self.steps = steps
            case "--seed":
                guard let seed = UInt64(value) else { return nil }
                self.seed = seed
            default: return nil
            }
        }
    }
}
