// A worker whose plugin does what its sender says: the faults of Tests/Hostile/test_one_plugin.py.

import Glibc
import PolicyKit

/// Takes all mail; `trap@…` and its kind do harm at MAIL, `leak@…` after the final dot.
struct Faulty: MailHook, RcptHook, DataPostHook, QueueHook {
    static let name = "faulty"

    init(configuration: PluginConfiguration) {}

    func mail(_ event: MailEvent) async throws -> Answer {
        switch event.sender.local.string {
        case "trap": return Self.trap([])
        case "abort": abort()
        case "segv": raise(SIGSEGV)
        case "exit": exit(3)
        case "loop": while true { sched_yield() }
        case "block": sleep(3_600)
        case "wait": try await Task.sleep(for: .seconds(6))
        default: break
        }
        return .declined
    }

    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }

    func dataPost(_ event: DataPostEvent) async throws -> Answer {
        if event.transaction.sender.local.string == "leak" { try self.leak(event) }
        return .declined
    }

    func queue(_ event: QueueEvent) async throws -> Answer { .ok }

    /// An index out of range.
    private static func trap(_ none: [Answer]) -> Answer { none[1] }

    /// Leaves a file where a message would be replaced, and names it in no verdict.
    private func leak(_ event: DataPostEvent) throws {
        let path = "\(event.outFolder)/\(UInt64.random(in: .min ... .max))"
        let file = open(path, O_WRONLY | O_CREAT | O_EXCL, 0o640)
        guard file >= 0 else { throw PluginError("\(path): \(errno)") }
        write(file, "left", 4)
        close(file)
    }
}

/// Counts the hellos of each client in the store.
struct Counting: EhloHook {
    static let name = "counting"

    private let store: any Store

    init(configuration: PluginConfiguration) { self.store = configuration.store() }

    func ehlo(_ event: EhloEvent) async throws -> Answer {
        do {
            let key = Bytes(event.session.client.ip)
            _ = try await self.store.add(1, to: key, expiresIn: .seconds(600))
            return .declined
        } catch is StoreError {
            return .denysoft("no store")
        }
    }
}

@main
enum FaultyWorker {
    static func main() async {
        await Worker.main(name: "faulty-worker", plugins: [Faulty.self, Counting.self])
    }
}
