package import PolicyKit

/// Disconnects a client that keeps saying what is no command.
///
/// See README.md.
package struct CountUnrecognizedCommands: UnrecognizedCommandHook {
    package static let name = "count_unrecognized_commands"

    private static let defaultLimit = 4

    private let limit: Int
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) {
        let limit = configuration.positional("limit", as: .integer(in: 0...10_000), default: 0)
        self.limit = limit == 0 ? Self.defaultLimit : limit
        self.refusal = configuration.refusal(.reject, .disconnect)
    }

    package func unrecognizedCommand(_ event: UnrecognizedCommandEvent) async throws -> Answer {
        let verb = event.command
        if verb.equalsIgnoringASCIICase("STARTTLS") || verb.equalsIgnoringASCIICase("AUTH") {
            return event.skip("a command of other servers")
        }
        let (count, overflow) = (event.notes[.unrecognizedCommands] ?? 0).addingReportingOverflow(1)
        guard !overflow else { return .declined }
        event.notes[.unrecognizedCommands] = count
        guard count >= self.limit else {
            return event.info("\(count) unrecognized commands")
        }
        return event.refuse(
            self.refusal,
            "Closing connection, \(count) unrecognized commands. "
                + "Perhaps you should read RFC 5321?",
            detail: "5.1"
        )
    }
}

extension NoteKey<Int> {
    /// How many lines of this session were no command.
    static let unrecognizedCommands = NoteKey("unrec_cmd_count", in: .session)
}
