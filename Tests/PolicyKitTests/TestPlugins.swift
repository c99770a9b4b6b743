import PolicyKit
import Synchronization

/// What plugins of these tests did, for the tests to see.
enum Witness {
    static let sessions = Mutex<[String]>([])
    static let cancelled = Mutex(0)
    static let stopped = Mutex(0)
    static let queued = Mutex<[String]>([])
}

struct First: RcptHook, ConnectHook, DataPostHook {
    static let name = "first"

    init(configuration: PluginConfiguration) {}

    func subscription(at hook: Hook) -> Subscription? {
        Subscription(hook == .data_post ? .headers : [])
    }

    func connect(_ event: ConnectEvent) async throws -> Answer {
        event.setRelay(true)
        event.setClientName("client.example.net")
        event.adjustKarma(by: 2)
        return .declined
    }

    func rcpt(_ event: RcptEvent) async throws -> Answer {
        event.notes[.seen] = (event.notes[.seen] ?? []) + ["first"]
        return .declined
    }

    func dataPost(_ event: DataPostEvent) async throws -> Answer {
        event.addHeader("X-First", "one")
        event.addHeader("X-Mistake", "two", at: .bottom)
        event.deleteHeaders(named: "x-forged")
        return .declined
    }
}

struct Second: RcptHook, ConnectHook, DataPostHook {
    static let name = "second"

    init(configuration: PluginConfiguration) {}

    func subscription(at hook: Hook) -> Subscription? {
        Subscription(hook == .data_post ? .headers : [])
    }

    func connect(_ event: ConnectEvent) async throws -> Answer {
        let name = event.session.client.name?.string ?? ""
        return .deny("\(event.session.relay) \(name) \(event.notes[.karma] ?? 0)")
    }

    func rcpt(_ event: RcptEvent) async throws -> Answer {
        event.notes[.seen] = (event.notes[.seen] ?? []) + ["second"]
        switch event.recipient.address.string {
        case "throw@example.com": throw PluginError("I give up")
        case "sleep@example.com": try await Task.sleep(for: .seconds(60))
        case "short@example.com": try await Task.sleep(for: .milliseconds(20))
        case "deaf@example.com": await Self.ignoreCancellation()
        case "headers@example.com": _ = event.transaction
        default: break
        }
        return .ok
    }

    func dataPost(_ event: DataPostEvent) async throws -> Answer {
        for field in event.headers where field.name == "X-Mistake" {
            event.deleteHeader(field)
        }
        let names = event.headers.map { $0.name.string ?? "" }
        return .deny(names.joined(separator: ","))
    }

    /// Works on for a while, whatever happens.
    private static func ignoreCancellation() async {
        await Task.detached { try? await Task.sleep(for: .milliseconds(300)) }.value
        if Task.isCancelled {
            Witness.cancelled.withLock { $0 += 1 }
        }
    }
}

struct Watcher: DisconnectHook, ObserverHook {
    static let name = "watcher"

    let observedHooks: Set<Hook> = [.data]

    init(configuration: PluginConfiguration) {}

    func disconnect(_ event: DisconnectEvent) async throws {
        Witness.sessions.withLock { $0.append("\(event.session.id) \(event.reason)") }
    }

    func observe(_ event: ObservedEvent) async throws {
        Witness.sessions.withLock { $0.append("\(event.session.id) \(event.hook)") }
    }

    func stop() async {
        Witness.stopped.withLock { $0 += 1 }
    }
}

extension NoteKey<[String]> {
    static let seen = NoteKey("seen", in: .session)
}

/// Does at each hook what the session's notes say, and takes every message.
struct Stager: DataPostHeadersHook, DataPostHook, QueuePreHook, QueueHook {
    static let name = "stager"

    init(configuration: PluginConfiguration) {}

    func dataPostHeaders(_ event: DataPostHeadersEvent) async throws -> Answer {
        let act = event.notes[NoteKey<String>("data_post_headers", in: .session)]
        if act == "note" { event.notes[.seen] = ["stager"] }
        return .declined
    }

    func dataPost(_ event: DataPostEvent) async throws -> Answer {
        switch event.notes[NoteKey<String>("data_post", in: .session)] {
        case "note": event.notes[.seen] = ["stager"]
        case "header": event.addHeader("X-Stager", "was here")
        case "deny": return .deny
        case "throw": throw PluginError("I give up")
        case "wait": try await Task.sleep(for: .milliseconds(20))
        case "extend": event.extendTime(by: .seconds(5))
        case "hang": try await Task.sleep(for: .seconds(60))
        default: break
        }
        return .declined
    }

    func queuePre(_ event: QueuePreEvent) async throws -> Answer {
        if event.notes[NoteKey<String>("queue_pre", in: .session)] == "header" {
            event.addHeader("X-Stager", "was here")
        }
        return .declined
    }

    func queue(_ event: QueueEvent) async throws -> Answer {
        let id = event.queueID
        Witness.queued.withLock { $0.append(id) }
        return .ok(id)
    }
}
