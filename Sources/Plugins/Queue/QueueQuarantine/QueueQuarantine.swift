import Glibc
import NIOPosix
package import PolicyKit
import System

/// Stores messages that a plugin wants to be looked at, in a folder for the operator.
///
/// See README.md.
package struct QueueQuarantine: QueueHook {
    package static let name = "queue/quarantine"

    /// Why the message is to be kept: text, or something that is not false.
    private static let note = NoteKey<JSONValue>("quarantine", in: .transaction)

    private enum Then: String, CaseIterable, Sendable {
        case accept, refuse, decline
    }

    private let folder: QuarantineFolder
    private let allowance: QuarantineAllowance
    private let takesAll: Bool
    private let then: Then
    private let text: String?
    private let mode: mode_t
    private let threads: NIOThreadPool

    package init(configuration: PluginConfiguration) throws {
        let path = try configuration.requiredPositional("path", as: .text)
        self.folder = QuarantineFolder(path: configuration.resolve(path: path))
        self.takesAll = configuration.argument("always", as: .flag, default: false)
        self.then = configuration.argument("then", as: .choice, default: .accept)
        self.text = configuration.argument("text", as: .text)
        self.mode = configuration.argument("mode", as: .octalMode, default: 0o700)
        self.allowance = QuarantineAllowance(
            self.folder,
            messages: configuration.argument(
                "max_messages",
                as: .integer(in: 1...10_000_000),
                default: 10_000
            ),
            octets: Int64(
                configuration.argument(
                    "max_megabytes",
                    as: .integer(in: 1...100_000_000),
                    default: 1_024
                )
            ) * 1_048_576
        )
        self.threads = NIOThreadPool(
            numberOfThreads: configuration.argument(
                "threads",
                as: .integer(in: 1...64),
                default: 4
            )
        )
        configuration.warnUnlessWritable(folder: self.folder.path)
    }

    package func subscription(at hook: Hook) -> Subscription? {
        // The files' names are made of the event's key: a second try writes the same files.
        Subscription([.wholeMessage, .recipients], isIdempotent: true)
    }

    package func start() async throws {
        self.threads.start()
        let (folder, mode) = (self.folder, self.mode)
        try await self.threads.runIfActive { try folder.make(mode: mode) }
    }

    package func stop() async {
        do {
            try await self.threads.shutdownGracefully()
        } catch {
            // Nothing is lost: every answer is out by now.
        }
    }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        guard let reason = self.reason(event) else { return event.skip("not for the quarantine") }
        let message = try event.message
        let entry = QuarantineEntry(event, reason: reason, octets: message.size)
        guard !entry.recipients.isEmpty else {
            return .deny("No recipients to deliver to", code: 554, status: "5.5.1")
        }
        let deadline = ContinuousClock.now + event.workingTime
        let (folder, mode, attempt) = (self.folder, self.mode & ~0o111, event.attempt)
        let allowance = self.allowance
        do {
            let isStored = try await self.threads.runIfActive {
                guard try allowance.take(message.size) else { return false }
                do {
                    try folder.store(
                        entry,
                        try MessageFeed(message),
                        attempt: attempt,
                        mode: mode,
                        before: deadline
                    )
                } catch let error as SystemError where error.code == ENOENT {
                    // The operator removed the folder.
                    try folder.make(mode: mode | 0o100)
                    try folder.store(
                        entry,
                        try MessageFeed(message),
                        attempt: attempt,
                        mode: mode,
                        before: deadline
                    )
                }
                return true
            }
            guard isStored else {
                event.error("\(self.folder.path) is full: max_messages or max_megabytes is reached")
                return .denysoft("The quarantine is full", code: 452, status: "4.3.1")
            }
        } catch let error as SystemError {
            event.error("\(error)")
            return error.code == ENOSPC || error.code == EDQUOT
                ? .denysoft("Insufficient system storage", code: 452, status: "4.3.1")
                : .denysoft("Could not store the message, try again", code: 451, status: "4.3.0")
        } catch let error as PluginError {
            event.error("\(error)")
            return .denysoft("Could not store the message, try again", code: 451, status: "4.3.0")
        }
        event.info("kept as \(entry.id): \(reason)")
        return self.answer(event)
    }

    private func answer(_ event: QueueEvent) -> Answer {
        switch self.then {
        case .accept: .ok(self.text ?? "queued as \(event.queueID)", code: 250, status: "2.0.0")
        case .refuse:
            .deny(self.text ?? "The message was refused by policy", code: 554, status: "5.7.1")
        case .decline: .declined
        }
    }

    /// One line of printable text; `nil` if the message is not to be kept.
    private func reason(_ event: QueueEvent) -> String? {
        switch event.notes[Self.note] {
        case .string(let text)? where !text.isEmpty:
            let scalars = text.unicodeScalars.prefix(500).map { scalar in
                scalar.value < 0x20 || 0x7F...0x9F ~= scalar.value ? " " : scalar
            }
            return String(String.UnicodeScalarView(scalars))
        case nil, .null?, .bool(false)?, .int(0)?, .string?:
            return self.takesAll ? "always" : nil
        case .some: return "no reason is noted"
        }
    }
}
