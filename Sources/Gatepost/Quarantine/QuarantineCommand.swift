import ArgumentParser
import NIOCore
import NIOPosix
import PolicyKit
import StandardPlugins
import System

/// `gatepost quarantine`: shows, releases and deletes what `queue/quarantine` stored.
struct QuarantineCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quarantine",
        abstract: "Shows the messages of queue/quarantine, hands them on, and deletes them.",
        discussion: """
            The folder is that of the line queue/quarantine in config/plugins, or --folder. It works while workers \
            store. Exit code 0: done; 1: there is no such message; 64: wrong arguments; 69: the folder cannot be \
            used, or the server did not take a message; 78: a mistake in the configuration.
            """,
        subcommands: [List.self, Show.self, Release.self, Delete.self]
    )

    /// The exit code where a message is not there.
    static let notThere = ExitCode(1)

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One line a message, newest first."
        )

        @OptionGroup var place: QuarantinePlace

        func run() throws {
            let folder = try self.place.quarantine()
            let entries: [QuarantineEntry]
            let unreadable: [QuarantineFolder.Failure]
            do throws(QuarantineFolder.Failure) {
                (entries, unreadable) = try folder.entries()
            } catch {
                throw QuarantinePlace.failed(error)
            }
            if entries.isEmpty, unreadable.isEmpty {
                StandardOutput.write("the quarantine is empty")
            }
            if !entries.isEmpty {
                let header = ["ID", "STORED", "CLIENT", "SENDER", "RECIPIENTS", "OCTETS", "REASON"]
                for line in TextTable.lines([header] + entries.map(\.row)) {
                    StandardOutput.write(line)
                }
            }
            var exit: ExitCode?
            for failure in unreadable { exit = QuarantinePlace.failed(failure) }
            if let exit { throw exit }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One message: what is known of it, and where it is."
        )

        @OptionGroup var place: QuarantinePlace

        @Flag(help: "Print the message alone, octet for octet.")
        var message = false

        @Argument(help: "What `list` calls it.")
        var id: String

        func run() throws {
            let folder = try self.place.quarantine()
            let entry = try QuarantinePlace.entry(self.id, in: folder)
            guard self.message else {
                for line in entry.description(in: folder) { StandardOutput.write(line) }
                return
            }
            do throws(SystemError) {
                try Files.copy(
                    folder.messagePath(self.id),
                    to: DescriptorCalls.standardOutput
                )
            } catch {
                throw QuarantinePlace.failed(error)
            }
        }
    }

    struct Release: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Hands messages to their recipients by a mail server, and deletes them.",
            discussion: """
                The server gets the envelope and the octets that were stored. Name a server that does not put the \
                message into the quarantine again: the next hop, or a listener whose plugins let it pass. The \
                connection is in clear text. A message that is not taken for all recipients stays.
                """
        )

        @OptionGroup var place: QuarantinePlace

        @Option(help: "The mail server: HOST, HOST:PORT (25 if none) or the path of a socket.")
        var to: String

        @Flag(help: "Speak LMTP, to a delivery agent; a socket is spoken to so in any case.")
        var lmtp = false

        @Flag(help: "Do not delete what was handed on.")
        var keep = false

        @Option(help: "How many seconds each message may take.")
        var timeout = 60

        @Argument(help: "What `list` calls them.")
        var ids: [String]

        func run() throws {
            guard let address = ServerAddress(self.to, defaultPort: 25) else {
                throw ValidationError("--to must be HOST, HOST:PORT or the path of a socket")
            }
            guard 1...3_600 ~= self.timeout else {
                throw ValidationError("--timeout must be from 1 to 3600")
            }
            let folder = try self.place.quarantine()
            var exit: ExitCode?
            for id in self.ids {
                do {
                    try self.release(id, in: folder, to: address)
                } catch let code as ExitCode {
                    exit = code
                }
            }
            if let exit { throw exit }
        }

        private func release(
            _ id: String,
            in folder: QuarantineFolder,
            to address: ServerAddress
        ) throws {
            let lock = try QuarantinePlace.hold(id, in: folder)
            defer { withExtendedLifetime(lock) {} }
            let entry = try QuarantinePlace.entry(id, in: folder)
            let speaksLMTP = if case .unix = address { true } else { self.lmtp }
            let time = Duration.seconds(self.timeout)
            let sent = MultiThreadedEventLoopGroup.singleton.any().makeFutureWithTask {
                try await QuarantineRelease.send(
                    entry,
                    in: folder,
                    to: address,
                    speaksLMTP: speaksLMTP,
                    hostname: Machine.hostname,
                    within: time
                )
            }
            let reply: String
            do {
                reply = try sent.wait()
            } catch {
                throw QuarantinePlace.failed("\(id) is not released: \(error)")
            }
            StandardOutput.write("released: \(id): \(PrintableText.text(reply))")
            guard !self.keep else { return }
            do throws(QuarantineFolder.Failure) {
                try folder.remove(id)
            } catch {
                throw QuarantinePlace.failed("\(id) was handed on and is still here: \(error)")
            }
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Deletes messages for good.")

        @OptionGroup var place: QuarantinePlace

        @Argument(help: "What `list` calls them.")
        var ids: [String]

        func run() throws {
            let folder = try self.place.quarantine()
            var exit: ExitCode?
            for id in self.ids {
                do throws(QuarantineFolder.Failure) {
                    try folder.remove(id)
                    StandardOutput.write("deleted: \(id)")
                } catch {
                    exit = QuarantinePlace.failed(error)
                }
            }
            if let exit { throw exit }
        }
    }
}

extension QuarantineEntry {
    fileprivate var row: [String] {
        let first = self.recipients.first.map { "\($0.address)" } ?? "-"
        let others = self.recipients.count > 1 ? " +\(self.recipients.count - 1)" : ""
        return [
            self.id, UTCTime(Int(clamping: self.storedAt)).text,
            PrintableText.text(self.clientIP), "<\(self.sender)>", "<\(first)>\(others)",
            "\(self.octets)", PrintableText.text(self.reason),
        ]
    }

    fileprivate func description(in folder: QuarantineFolder) -> [String] {
        var lines = [
            ("id", self.id), ("stored", UTCTime(Int(clamping: self.storedAt)).text),
            ("reason", PrintableText.text(self.reason)),
            ("client", PrintableText.text(self.clientIP)),
            ("hello", self.hello.map { "\($0)" } ?? "-"),
            ("user", self.user.map { "\($0)" } ?? "-"),
            ("session", PrintableText.text(self.session)),
            ("queue id", PrintableText.text(self.queueID)),
            ("sender", Self.line(self.sender, self.parameters)),
        ]
        lines += self.recipients.map { ("recipient", Self.line($0.address, $0.parameters)) }
        lines.append(("message", "\(folder.messagePath(self.id)), \(self.octets) octets"))
        return TextTable.lines(lines.map { [$0.0, $0.1] })
    }

    private static func line(_ address: Bytes, _ parameters: [String]) -> String {
        (["<\(address)>"] + parameters.map { PrintableText.text($0) }).joined(separator: " ")
    }
}
