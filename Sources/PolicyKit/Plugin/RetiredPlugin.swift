/// A name that `config/plugins` of an older server may have and that is no plugin here.
///
/// So that a configuration that is taken over says what became of each of its lines.
public struct RetiredPlugin: Sendable, Equatable {
    /// What a line with the name does.
    public enum Effect: Sendable {
        /// Nothing: it is not needed, and a warning says why.
        case ignored
        /// The worker does not start: without it something would be missing.
        case refused
    }

    /// The name in `config/plugins`.
    public let name: String
    /// What a line with the name does.
    public let effect: Effect
    /// What there is in its place, to follow the name and a colon.
    public let explanation: String

    /// A name that is no plugin here.
    public init(_ name: String, _ effect: Effect, _ explanation: String) {
        self.name = name
        self.effect = effect
        self.explanation = explanation
    }
}
