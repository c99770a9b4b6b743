package import PolicyKit

/// Refuses a client that spoke before it was spoken to.
///
/// See README.md.
package struct EarlyTalker: ConnectHook, MailHook, RcptHook, DataHook {
    private enum Moment: String, CaseIterable {
        case connect
        case data
    }

    private enum OldAction: String, CaseIterable {
        case deny
        case denysoft
        case log
    }

    package static let name = "earlytalker"
    package static let aliases = ["check_earlytalker"]

    private static let text = "Connecting host started transmitting before SMTP greeting"

    private let refusal: Refusal
    private let moments: Set<Moment>
    private let isDeferred: Bool

    package init(configuration: PluginConfiguration) {
        // The frontend does the waiting; the argument is read so that old lines go on working.
        _ = configuration.argument(
            "wait",
            as: .duration(in: .zero ... .seconds(60)),
            default: .seconds(1)
        )
        let moments = configuration.arguments("check-at", as: ArgumentType<Moment>.choice)
        self.moments = moments.isEmpty ? [.connect] : Set(moments)
        self.isDeferred = configuration.argument("defer-reject", as: .flag, default: false)
        switch configuration.argument("action", as: ArgumentType<OldAction>.choice) {
        case .deny: self.refusal = configuration.refusal(.reject, .perm)
        case .denysoft: self.refusal = configuration.refusal(.reject, .temp)
        case .log: self.refusal = configuration.refusal(.tolerate)
        case nil: self.refusal = configuration.refusal()
        }
    }

    package func subscription(at hook: Hook) -> Subscription? {
        switch hook {
        case .connect: self.moments.contains(.connect) ? Subscription() : nil
        case .data: self.moments.contains(.data) ? Subscription() : nil
        default: self.moments.contains(.connect) && self.isDeferred ? Subscription() : nil
        }
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer {
        guard self.countsAsEarlyTalker(event) else { return .declined }
        guard self.isDeferred else { return self.refuse(event) }
        return event.info("early talker, refused at MAIL")
    }

    package func mail(_ event: MailEvent) async throws -> Answer {
        event.notes[.earlytalker] == true ? self.refuse(event) : .declined
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        event.notes[.earlytalker] == true ? self.refuse(event) : .declined
    }

    package func data(_ event: DataEvent) async throws -> Answer {
        self.countsAsEarlyTalker(event) ? self.refuse(event) : .declined
    }

    /// Whether the client spoke early and nothing excuses it; the first time lowers its karma.
    private func countsAsEarlyTalker<Stage>(_ event: HookEvent<Stage>) -> Bool {
        guard event.session.earlyTalker else {
            event.pass()
            return false
        }
        if event.isImmune {
            event.skip("immune")
            return false
        }
        if let history = event.notes[.karmaHistory], history > 5 {
            event.skip("good karma history")
            return false
        }
        if event.notes[.earlytalker] != true {
            event.notes[.earlytalker] = true
            event.adjustKarma(by: -1)
        }
        return true
    }

    private func refuse<Stage>(_ event: HookEvent<Stage>) -> Answer {
        event.refuse(self.refusal, Self.text, detail: "7.1")
    }
}
