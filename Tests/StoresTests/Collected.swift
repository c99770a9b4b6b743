import Synchronization

/// What a thread has done, in order.
final class Collected: Sendable {
    private let numbers = Mutex<[Int]>([])

    var all: [Int] { self.numbers.withLock(\.self) }

    func append(_ number: Int) { self.numbers.withLock { $0.append(number) } }
}
