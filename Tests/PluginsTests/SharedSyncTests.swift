import Dispatch
import Foundation
import Synchronization
import Testing

@testable import StandardPlugins

@Suite struct SharedSyncTests {
    /// A sync that waits to be let go, and fails if told to.
    private final class Disk: Sendable {
        let begun = DispatchSemaphore(value: 0)
        let go = DispatchSemaphore(value: 0)
        let syncs = Mutex(0)
        let fails = Mutex(false)

        func sync() throws(MaildirError) {
            self.syncs.withLock { $0 += 1 }
            self.begun.signal()
            self.go.wait()
            if self.fails.withLock(\.self) { throw MaildirError("fsync", code: 5) }
        }
    }

    /// One leads, nine come meanwhile and share the next; returns how many of the nine failed.
    private func tenAsk(_ disk: Disk, failing: Bool) -> Int {
        let shared = SharedSync { () throws(MaildirError) in try disk.sync() }
        let failed = Mutex(0)
        let group = DispatchGroup()
        let ask: @Sendable () -> Void = {
            do { try shared.sync() } catch { failed.withLock { $0 += 1 } }
        }
        group.enter()
        Thread.detachNewThread {
            ask()
            group.leave()
        }
        disk.begun.wait()
        for _ in 0..<9 {
            group.enter()
            Thread.detachNewThread {
                ask()
                group.leave()
            }
        }
        while shared.asked < 10 { sched_yield() }
        disk.go.signal()
        disk.begun.wait()
        disk.fails.withLock { $0 = failing }
        disk.go.signal()
        group.wait()
        return failed.withLock(\.self)
    }

    @Test func `those who come meanwhile share the next one`() {
        let disk = Disk()
        #expect(self.tenAsk(disk, failing: false) == 0)
        #expect(disk.syncs.withLock(\.self) == 2)
    }

    @Test func `a sync that fails fails for each who shared it, and for nobody else`() {
        let disk = Disk()
        #expect(self.tenAsk(disk, failing: true) == 9)
        #expect(disk.syncs.withLock(\.self) == 2)
    }

    @Test func `one after another each have their own`() throws {
        let disk = Disk()
        let shared = SharedSync { () throws(MaildirError) in try disk.sync() }
        for _ in 0..<3 {
            disk.go.signal()
            try shared.sync()
        }
        #expect(disk.syncs.withLock(\.self) == 3)
    }
}
