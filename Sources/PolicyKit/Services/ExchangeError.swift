/// Why a server's answer was not got.
public struct ExchangeError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The kinds of failure.
    public enum Code: Sendable, Hashable {
        /// No connection could be made.
        case unreachable
        /// The time of the exchange is over.
        case timedOut
        /// The connection ended before the answer was complete.
        case closed
        /// The answer is longer than it may be.
        case tooLong
    }

    /// The kind of failure.
    public let code: Code
    /// What happened, for the log.
    public let detail: String

    /// A failure of this kind.
    public init(_ code: Code, _ detail: String) {
        self.code = code
        self.detail = detail
    }

    /// The kind, then the detail.
    public var description: String { "\(self.code): \(self.detail)" }
}
