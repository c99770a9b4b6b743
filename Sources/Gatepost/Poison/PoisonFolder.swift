import Configuration
import Glibc
import JSON
import System

/// `<spool_directory>/poison`, where a frontend keeps poisoned questions.
struct PoisonFolder {
    static let eventEnding = ".event.json"
    static let messageEnding = ".eml"

    let path: String

    enum Failure: Error, Equatable, CustomStringConvertible {
        case unknown(String)
        /// The name of the system call that failed, its path, its `errno`.
        case system(String, String, Int32)
        /// The file is no event.
        case invalid(String)

        var description: String {
            switch self {
            case .unknown(let id): "there is no \"\(PrintableText.text(id))\"; see `list`"
            case .system(let call, let path, let code):
                "cannot \(call) \(path): \(String(cString: strerror(code)))"
            case .invalid(let path): "\(path) is no event"
            }
        }
    }

    /// The kept questions, newest first, and why some cannot be listed; both empty if there is no
    /// folder.
    func files() throws(Failure) -> (files: [PoisonFile], unreadable: [Failure]) {
        let names: [String]
        do throws(SystemError) {
            names = try Folders.names(in: self.path)
        } catch {
            guard error.code == ENOENT else { throw .system("read", self.path, error.code) }
            return ([], [])
        }
        var files: [PoisonFile] = []
        var unreadable: [Failure] = []
        for name in names where name.hasSuffix(Self.eventEnding) {
            do throws(Failure) {
                let file = try self.file(String(name.dropLast(Self.eventEnding.utf8.count)))
                guard file.isEvent else { throw .invalid(file.base + Self.eventEnding) }
                files.append(file)
            } catch {
                // The file was removed meanwhile, or the frontend did not write it.
                if case .unknown = error { continue }
                unreadable.append(error)
            }
        }
        return (files.sorted { ($0.keptAt, $0.id) > ($1.keptAt, $1.id) }, unreadable)
    }

    /// The kept question with this fingerprint.
    func file(_ id: String) throws(Failure) -> PoisonFile {
        let isName = id.utf8.allSatisfy { octet in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet)
                || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(octet)
        }
        guard isName, (1...16).contains(id.utf8.count) else { throw .unknown(id) }
        let base = "\(self.path)/\(id)"
        let path = base + Self.eventEnding
        var facts = stat()
        // O_NONBLOCK: opening a FIFO would wait.
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0, fstat(descriptor, &facts) == 0 else {
            if descriptor >= 0 { close(descriptor) }
            if errno == ENOENT { throw .unknown(id) }
            throw .system("read", path, errno)
        }
        defer { close(descriptor) }
        guard facts.st_mode & S_IFMT == S_IFREG else { throw .invalid(path) }
        var message = stat()
        let hasMessage = lstat(base + Self.messageEnding, &message) == 0
        return PoisonFile(
            id: id,
            base: base,
            keptAt: facts.st_mtim.tv_sec,
            event: try Self.octets(of: descriptor, path),
            messageOctets: hasMessage ? Int64(message.st_size) : nil
        )
    }

    private static func octets(of descriptor: Int32, _ path: String) throws(Failure) -> [UInt8] {
        var octets: [UInt8] = []
        while true {
            guard let chunk = DescriptorCalls.read(descriptor) else {
                throw .system("read", path, errno)
            }
            guard !chunk.isEmpty else { return octets }
            octets += chunk
        }
    }
}

/// One poisoned question: its event and its message.
struct PoisonFile {
    let id: String
    /// The path of both files, without their endings.
    let base: String
    /// Unix seconds.
    let keptAt: Int
    /// The event, a line of JSON without its LF.
    let event: [UInt8]
    /// The size of the kept message; `nil` if workers got none.
    let messageOctets: Int64?

    init(id: String, base: String, keptAt: Int, event: [UInt8], messageOctets: Int64?) {
        self.id = id
        self.base = base
        self.keptAt = keptAt
        self.event = event.last == 0x0A ? Array(event.dropLast()) : event
        self.messageOctets = messageOctets
    }

    /// Whether the file's content is a JSON object.
    var isEvent: Bool { (try? JSONObjectText(self.event)) != nil }

    /// A member of the event by its path, as text; `-` if the event does not have it.
    private func text(_ path: StaticString...) -> String {
        guard var object = try? JSONObjectText(self.event), let last = path.last else { return "-" }
        for key in path.dropLast() {
            guard let next = try? object.object(key) else { return "-" }
            object = next
        }
        guard let item = object[last], !item.isNull else { return "-" }
        let octets = (try? item.bytes()) ?? Array(item.raw)
        return PrintableText.text(String(decoding: octets, as: UTF8.self))
    }

    var row: [String] {
        [
            self.id, UTCTime(self.keptAt).text, self.text("hook"),
            self.text("session", "client", "ip"),
            self.text("transaction", "sender", "address"),
            self.messageOctets.map { "\($0)" } ?? "-",
        ]
    }

    /// The lines that `gatepost poison show` prints.
    var description: [String] {
        var lines = [
            ("id", self.id),
            ("kept", UTCTime(self.keptAt).text),
            ("refused", "until \(UTCTime(self.keptAt + 3_600).text), unless forgotten"),
            ("hook", self.text("hook")),
            ("session", self.text("session", "id")),
            ("client", self.text("session", "client", "ip")),
            ("hello", self.text("session", "hello", "name")),
            ("sender", self.text("transaction", "sender", "address")),
            ("event", self.base + PoisonFolder.eventEnding),
        ]
        if let octets = self.messageOctets {
            lines.append(("message", "\(self.base)\(PoisonFolder.messageEnding), \(octets) octets"))
        }
        return TextTable.lines(lines.map { [$0.0, $0.1] })
    }

    /// Removes the message, then the event: if the event's file is gone, both are.
    func remove() throws(PoisonFolder.Failure) {
        for path in [self.base + PoisonFolder.messageEnding, self.base + PoisonFolder.eventEnding]
        where unlink(path) != 0 && errno != ENOENT {
            throw .system("remove", path, errno)
        }
    }
}
