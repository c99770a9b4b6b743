import PolicyKit

/// The arguments that the plugins of this folder share.
struct ListArguments: Sendable {
    /// All look-ups of one event together.
    let time: Duration
    let resolver: any NameResolver

    init(_ configuration: PluginConfiguration) throws {
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100) ... .seconds(60)),
            default: .seconds(5)
        )
        self.resolver = try configuration.resolver()
    }

    /// What the lists say about `subjects`, within the event's time; logs which lists are not usable.
    func ask<Stage>(
        _ lists: [DNSList],
        about subjects: [ListSubject],
        _ event: HookEvent<Stage>
    ) async -> [ListAnswer] {
        let time = min(self.time, event.remainingTime - ListLookup.margin)
        let lookup = ListLookup(resolver: self.resolver, deadline: .now + time)
        let answers = await lookup.ask(lists, about: subjects)
        event.report(unusable: answers)
        return answers
    }
}
