import Synchronization
import Testing

@testable import StandardPlugins

/// What a test lets go on when it wants.
private final class Gate: Sendable {
    private struct State {
        var waiting: [CheckedContinuation<Void, Never>] = []
        var arrived: [Int] = []
    }

    private let state = Mutex(State())

    var count: Int { self.state.withLock { $0.waiting.count } }
    var arrived: [Int] { self.state.withLock { $0.arrived } }

    func wait(_ number: Int) async -> Int {
        await withCheckedContinuation { continuation in
            self.state.withLock {
                $0.arrived.append(number)
                $0.waiting.append(continuation)
            }
        }
        return number
    }

    func openOne() { self.state.withLock { $0.waiting.removeFirst() }.resume() }
}

struct TurnsTests {
    /// Lets the other tasks run until it is so.
    private func until(_ condition: () -> Bool) async {
        while !condition() { await Task.yield() }
    }

    @Test func `so many run, so many wait, in the order of their arrival`() async throws {
        let turns = Turns(atOnce: 2, longestLine: 2)
        let gate = Gate()
        var tasks: [Task<Int?, any Error>] = []
        for number in 0..<4 {
            tasks.append(Task { try await turns.take { await gate.wait(number) } })
            await self.until {
                gate.count == min(number + 1, 2) && turns.waiting == max(0, number - 1)
            }
        }
        #expect(try await turns.take { 5 } == nil)
        for _ in 0..<2 {
            gate.openOne()
            await self.until { gate.count == 2 }
        }
        gate.openOne()
        gate.openOne()
        for (number, task) in tasks.enumerated() { #expect(try await task.value == number) }
        #expect(gate.arrived == [0, 1, 2, 3])
        #expect(try await turns.take { 6 } == 6)
    }

    @Test func `a task that is cancelled leaves the line, and one that fails gives its turn back`()
        async throws
    {
        struct Failed: Error {}
        let turns = Turns(atOnce: 1, longestLine: 1)
        let gate = Gate()
        let first = Task { try await turns.take { await gate.wait(1) } }
        await self.until { gate.count == 1 }
        let second = Task { try await turns.take {} }
        await self.until { turns.waiting == 1 }
        second.cancel()
        await #expect(throws: CancellationError.self) { try await second.value }
        #expect(turns.waiting == 0)
        gate.openOne()
        #expect(try await first.value != nil)
        await #expect(throws: Failed.self) { try await turns.take { throw Failed() } }
        #expect(try await turns.take { true } == true)
        let late = Task {
            while !Task.isCancelled { await Task.yield() }
            return try await turns.take {}
        }
        late.cancel()
        await #expect(throws: CancellationError.self) { try await late.value }
    }
}
