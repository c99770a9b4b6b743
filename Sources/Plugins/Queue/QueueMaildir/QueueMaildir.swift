import Glibc
import NIOPosix
package import PolicyKit

/// Delivers into Maildirs: one file for the message, or one for each recipient.
///
/// `ok` means that every copy and its name are on stable storage. See the folder's README for
/// arguments and replies.
package struct QueueMaildir: QueueHook {
    package static let name = "queue/maildir"

    private let root: String
    private let template: MaildirTemplate?
    private let mode: mode_t
    private let lineEnds: MaildirLineEnds
    private let hostname: String
    /// The domain of `<Postmaster>`.
    private let localDomain: Bytes
    private let folders: MaildirFolders
    /// Threads that wait for the disk, so that one slow disk holds up nothing but its own mail and
    /// concurrent syncs can share one commit of the file system's journal.
    private let threads: NIOThreadPool

    package init(configuration: PluginConfiguration) throws {
        let path = try configuration.requiredPositional("path", as: .text)
        self.root = Self.trimmed(configuration.resolve(path: path))
        self.template = configuration.positional("subdir", ifFits: .maildirTemplate)
        self.mode = configuration.positional("mode", ifFits: .octalMode) ?? 0o700
        self.lineEnds = configuration.argument("line_ends", as: .choice, default: .crlf)
        let count = configuration.argument("threads", as: .integer(in: 1...64), default: 8)
        let mayCreate = configuration.argument(
            "create",
            as: .choice(["yes": true, "no": false]),
            default: true
        )
        let maximum = configuration.argument(
            "max_maildirs",
            as: .integer(in: 1...10_000_000),
            default: 10_000
        )
        if self.template == nil {
            // A Maildir that is there may be closed to us, if its folders are open.
            configuration.warnUnlessWritable(folder: "\(self.root)/new")
        } else if mayCreate {
            configuration.warnUnlessWritable(folder: self.root)
        }
        self.hostname = Self.fileName(configuration.shared.hostname)
        self.localDomain = Bytes(configuration.shared.hostname).asciiLowercased
        self.folders = MaildirFolders(
            root: self.root,
            mode: self.mode,
            allowance: self.template.map {
                MaildirAllowance(maximum: mayCreate ? maximum : 0, depth: $0.depth)
            }
        )
        self.threads = NIOThreadPool(numberOfThreads: count)
    }

    package func subscription(at hook: Hook) -> Subscription? {
        // The file's name is made of the event's key: a second try finds the first one's copy.
        Subscription([.wholeMessage, .recipients], isIdempotent: true)
    }

    package func start() async throws {
        self.threads.start()
        guard self.template == nil else { return }
        let folders = self.folders
        let root = self.root
        try await self.threads.runIfActive { try folders.prepare(root) }
    }

    package func stop() async {
        do {
            try await self.threads.shutdownGracefully()
        } catch {
            // Nothing is lost: every answer is out by now.
        }
    }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        let copies = try self.copies(for: event)
        guard !copies.isEmpty else {
            return .deny("No recipients to deliver to", code: 554, status: "5.5.1")
        }
        let message = try event.message
        let delivery = MaildirDelivery(
            folders: self.folders,
            header: message.header,
            spoolPath: message.path,
            bodyOffset: message.bodyOffset,
            fileSize: message.fileSize,
            lineEnds: self.lineEnds,
            fileMode: self.mode & ~0o111,
            attempt: event.attempt,
            deadline: .now + event.remainingTime
        )
        do {
            try await self.deliver(delivery, copies)
        } catch let error as MaildirError {
            return self.answer(error, event)
        }
        event.info("\(copies.count) in \(self.root)")
        return .ok("queued as \(event.queueID)", code: 250, status: "2.0.0")
    }

    private func deliver(
        _ delivery: MaildirDelivery,
        _ copies: [MaildirDelivery.Copy]
    ) async throws {
        if copies.count == 1 {
            return try await self.threads.runIfActive {
                do {
                    for copy in copies { try delivery.stage(copy) }
                    try delivery.commit(copies)
                } catch {
                    delivery.discard(copies)
                    throw error
                }
            }
        }
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for copy in copies {
                    group.addTask {
                        try await self.threads.runIfActive { try delivery.stage(copy) }
                    }
                }
                try await group.waitForAll()
            }
            try await self.threads.runIfActive { try delivery.commit(copies) }
        } catch {
            try await self.threads.runIfActive { delivery.discard(copies) }
            throw error
        }
    }

    private func answer(_ error: MaildirError, _ event: QueueEvent) -> Answer {
        event.error(error.description)
        if error.isStorageFull {
            return .denysoft("Insufficient system storage", code: 452, status: "4.3.1")
        }
        if error.code == MaildirError.tooManyMaildirs {
            return .denysoft("No room for another mailbox", code: 452, status: "4.3.1")
        }
        if error.code == MaildirError.noMaildir {
            return .deny("No such mailbox", code: 550, status: "5.1.1")
        }
        if error.isPermanent {
            return .deny("The recipient's address is too long", code: 554, status: "5.1.3")
        }
        return .denysoft("Could not store the message, try again", code: 451, status: "4.3.0")
    }

    // MARK: Copies

    private func copies(for event: QueueEvent) throws -> [MaildirDelivery.Copy] {
        let recipients = event.recipients
        let returnPath = try Self.line(
            "Return-Path",
            Array("<".utf8)
                + event.transaction.sender.address.octets + Array(">".utf8)
        )
        guard let template = self.template else {
            guard !recipients.isEmpty else { return [] }
            let trace = try recipients.reduce(into: returnPath) { trace, recipient in
                trace += try Self.line("Delivered-To", recipient.address.octets)
            }
            return [
                MaildirDelivery.Copy(
                    maildir: self.root,
                    name: self.uniqueName(event, part: "0"),
                    trace: trace
                )
            ]
        }
        // One mailbox gets one copy, however often and in whatever letter case it was named.
        var mailboxes: Set<[Bytes]> = []
        return try recipients.compactMap { recipient in
            // `<Postmaster>` without a domain is this host's, in any letter case (RFC 5321 §4.1.1.3).
            let isOurs = recipient.domain.octets.isEmpty
            let local = isOurs ? recipient.local.asciiLowercased : recipient.local
            let domain = isOurs ? self.localDomain : recipient.domain.asciiLowercased
            let name = template.mailboxName(local: local.octets)
            guard mailboxes.insert([Bytes(octets: name), domain]).inserted else { return nil }
            let folder = template.folder(local: local.octets, domain: domain.octets)
            return MaildirDelivery.Copy(
                maildir: "\(self.root)/\(folder)",
                name: self.uniqueName(event, part: "\(recipient.id)"),
                trace: returnPath + (try Self.line("Delivered-To", recipient.address.octets))
            )
        }
    }

    /// The same for every try of an event, and for no other event or recipient.
    private func uniqueName(_ event: QueueEvent, part: String) -> String {
        let seconds = event.session.startedMilliseconds / 1000
        return "\(seconds).K\(Self.fileName(event.key))R\(part).\(self.hostname)"
    }

    private static func line(_ name: String, _ value: [UInt8]) throws -> [UInt8] {
        guard value.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
            throw PluginError("an address with control octets")
        }
        return Array("\(name): ".utf8) + value + [0x0D, 0x0A]
    }

    /// What may stand in a file's name: the separators of Maildir's info part and of paths do not.
    private static func fileName(_ text: String) -> String {
        let octets = text.utf8.prefix(100).map { octet in
            switch octet {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E: octet
            default: UInt8(ascii: "_")
            }
        }
        return String(decoding: octets, as: UTF8.self)
    }

    private static func trimmed(_ path: String) -> String {
        var path = path[...]
        while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
        return String(path)
    }
}

extension ArgumentType<MaildirTemplate> {
    fileprivate static var maildirTemplate: Self {
        Self("a folder with %l, %m, %d or %u, without empty, . and .. components") {
            MaildirTemplate($0)
        }
    }
}

extension ArgumentType<mode_t> {
    static var octalMode: Self {
        Self("three octal digits, as 770") { word in
            let digits = word.utf8.count == 4 && word.hasPrefix("0") ? word.dropFirst() : word[...]
            guard digits.utf8.count == 3, let mode = mode_t(digits, radix: 8), mode & 0o700 == 0o700
            else { return nil }
            return mode
        }
    }
}
