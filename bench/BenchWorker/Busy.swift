// Keeps a core busy: what a second worker is worth.

import Glibc
import PolicyKit

/// Spends so much CPU time on each message (`bench/busy 5ms`), then takes it.
struct Busy: RcptHook, DataPostHook, QueueHook {
    static let name = "bench/busy"

    private let nanoseconds: Int

    init(configuration: PluginConfiguration) {
        let time = configuration.positional(
            "time",
            as: .duration(in: .zero ... .seconds(1)),
            default: .milliseconds(5)
        )
        self.nanoseconds = Int(time / .nanoseconds(1))
    }

    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }

    func dataPost(_ event: DataPostEvent) async throws -> Answer {
        let end = Self.nanosecondsOfThread + self.nanoseconds
        while Self.nanosecondsOfThread < end { continue }
        return .declined
    }

    func queue(_ event: QueueEvent) async throws -> Answer { .ok }

    /// CPU time of this thread, which stands still while another has the core.
    private static var nanosecondsOfThread: Int {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
