// Answers at every hook and does nothing else, to measure what a question costs.

import PolicyKit

/// Registers every hook; says ok where mail needs it, and declines elsewhere.
struct Everything: ConnectHook, HeloHook, EhloHook, MailHook, RcptHook, DataHook,
    DataHeadersEndHook, ReceivedLineHook, DataPostHeadersHook, DataPostHook, QueuePreHook,
    QueueHook,
    VrfyHook, HelpHook, NoopHook, UnrecognizedCommandHook, QuitHook
{
    static let name = "bench/everything"

    init(configuration: PluginConfiguration) {}

    func connect(_ event: ConnectEvent) async throws -> Answer { .declined }

    func helo(_ event: HeloEvent) async throws -> Answer { .declined }

    func ehlo(_ event: EhloEvent) async throws -> Answer { .declined }

    func mail(_ event: MailEvent) async throws -> Answer { .declined }

    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }

    func data(_ event: DataEvent) async throws -> Answer { .declined }

    func dataHeadersEnd(_ event: DataHeadersEndEvent) async throws -> Answer { .declined }

    func receivedLine(_ event: ReceivedLineEvent) async throws -> Answer { .declined }

    func dataPostHeaders(_ event: DataPostHeadersEvent) async throws -> Answer { .declined }

    func dataPost(_ event: DataPostEvent) async throws -> Answer { .declined }

    func queuePre(_ event: QueuePreEvent) async throws -> Answer { .declined }

    func queue(_ event: QueueEvent) async throws -> Answer { .ok }

    func vrfy(_ event: VrfyEvent) async throws -> Answer { .declined }

    func help(_ event: HelpEvent) async throws -> Answer { .declined }

    func noop(_ event: NoopEvent) async throws -> Answer { .declined }

    func unrecognizedCommand(_ event: UnrecognizedCommandEvent) async throws -> Answer {
        .declined
    }

    func quit(_ event: QuitEvent) async throws -> Answer { .declined }
}

@main
enum BenchWorker {
    static func main() async {
        await Worker.main(name: "bench-worker", plugins: [Everything.self, Busy.self])
    }
}
