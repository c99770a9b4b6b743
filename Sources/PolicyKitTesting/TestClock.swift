import Synchronization

/// A time that only the test moves.
public final class TestClock: Sendable {
    private let time: Mutex<Int64>

    /// A clock that shows this time, in Unix milliseconds.
    public init(nowMilliseconds: Int64 = 1_732_322_669_123) {
        self.time = Mutex(nowMilliseconds)
    }

    /// The time, in Unix milliseconds.
    public var nowMilliseconds: Int64 {
        get { self.time.withLock(\.self) }
        set { self.time.withLock { $0 = newValue } }
    }

    /// Moves the time on.
    public func advance(by duration: Duration) {
        let (seconds, attoseconds) = duration.components
        self.time.withLock { $0 += seconds * 1_000 + attoseconds / 1_000_000_000_000_000 }
    }
}
