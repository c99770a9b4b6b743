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
        let time = min(self.time, event.workingTime)
        let lookup = ListLookup(resolver: self.resolver, deadline: .now + time)
        let answers = await lookup.ask(lists, about: subjects)
        event.report(unusable: answers)
        return answers
    }
}

/// Lists whose weights add up, and the sum from which what they name is refused.
struct WeighedLists: Sendable {
    private let lists: ControlFile<[DNSList]>
    private let threshold: Int
    private let arguments: ListArguments

    /// Takes the arguments `threshold` and those of ``ListArguments``, and reads the file `name`.
    init(_ configuration: PluginConfiguration, file name: String) throws {
        self.threshold = configuration.argument(
            "threshold",
            as: .integer(in: 1...100_000),
            default: 1
        )
        self.arguments = try ListArguments(configuration)
        self.lists = try configuration.controlFile(name, parse: DNSList.lists)
    }

    /// What the lists say about `subjects`, and the zones that say it to `note`.
    ///
    /// - Returns: What is to be refused, which costs karma; `nil` if that is less than the threshold, which is
    ///   logged.
    func refused<Stage>(
        _ subjects: [ListSubject],
        note: NoteKey<[String]>,
        _ event: HookEvent<Stage>
    ) async -> Listing? {
        let lists = event.value(of: self.lists)
        let listing = Listing(await self.arguments.ask(lists, about: subjects, event))
        event.notes[note] = listing.zones.isEmpty ? nil : listing.zones
        guard listing.sum >= self.threshold else {
            event.pass("\(listing.sum) of \(self.threshold) in \(lists.count) lists")
            return nil
        }
        event.adjustKarma(by: -1)
        return listing
    }
}
