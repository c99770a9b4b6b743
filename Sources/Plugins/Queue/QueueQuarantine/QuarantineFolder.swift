import Glibc
import PolicyKit
import Synchronization
package import System

/// The folder of a quarantine: two files a message, `ID.eml` and `ID.json`.
///
/// A message is there when its JSON file is. Its calls block; it may be used from any thread, and by several
/// processes at once.
package struct QuarantineFolder: Sendable {
    static let entryEnding = ".json"
    static let messageEnding = ".eml"

    /// Without a slash at its end.
    package let path: String

    /// A folder, which need not be there.
    package init(path: String) {
        var path = path[...]
        while path.utf8.count > 1, path.hasSuffix("/") { path.removeLast() }
        self.path = String(path)
    }

    /// Why a message cannot be had.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        /// There is none of this id.
        case unknown(String)
        case system(SystemError)
        /// The file is no entry.
        case invalid(String)
        /// Another process hands the message on.
        case busy(String)

        package var description: String {
            switch self {
            case .unknown(let id): "there is no \"\(id)\""
            case .system(let error): "\(error)"
            case .invalid(let path): "\(path) is no entry of a quarantine"
            case .busy(let id): "\(id) is being released by another command"
            }
        }
    }

    // MARK: Looking

    /// All messages, newest first, and what is there but cannot be read.
    ///
    /// - Returns: Nothing if there is no folder.
    package func entries() throws(Failure) -> (
        entries: [QuarantineEntry], unreadable: [Failure]
    ) {
        var entries: [QuarantineEntry] = []
        var unreadable: [Failure] = []
        for name in try self.names() where name.hasSuffix(Self.entryEnding) {
            do throws(Failure) {
                entries.append(try self.entry(String(name.dropLast(Self.entryEnding.utf8.count))))
            } catch {
                // It was removed meanwhile, or is another program's file.
                if case .unknown = error { continue }
                unreadable.append(error)
            }
        }
        return (entries.sorted { ($0.storedAt, $0.id) > ($1.storedAt, $1.id) }, unreadable)
    }

    /// The message of this id.
    package func entry(_ id: String) throws(Failure) -> QuarantineEntry {
        guard QuarantineEntry.isID(id) else { throw .unknown(id) }
        let path = self.entryPath(id)
        let octets: [UInt8]?
        do throws(SystemError) {
            let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
            octets = try Descriptor(opening: path, flags)
                .readAll(limit: QuarantineEntry.maximumOctets)
        } catch {
            throw error.code == ENOENT ? .unknown(id) : .system(error)
        }
        guard let entry = octets.flatMap({ QuarantineEntry(id: id, text: $0) }) else {
            throw .invalid(path)
        }
        return entry
    }

    /// The file of a message.
    package func messagePath(_ id: String) -> String { "\(self.path)/\(id)\(Self.messageEnding)" }

    private func entryPath(_ id: String) -> String { "\(self.path)/\(id)\(Self.entryEnding)" }

    private func names() throws(Failure) -> [String] {
        do throws(SystemError) {
            return try Folders.names(in: self.path)
        } catch {
            guard error.code == ENOENT else { throw .system(error) }
            return []
        }
    }

    /// How many messages there are, and the octets of all their files.
    ///
    /// What was begun and not ended counts as octets.
    func use() throws(SystemError) -> (messages: Int, octets: Int64) {
        var use = (messages: 0, octets: Int64(0))
        let names: [String]
        do throws(SystemError) {
            names = try Folders.names(in: self.path)
        } catch {
            guard error.code == ENOENT else { throw error }
            return use
        }
        for name in names {
            var facts = stat()
            guard lstat("\(self.path)/\(name)", &facts) == 0, facts.st_mode & S_IFMT == S_IFREG
            else { continue }
            if name.hasSuffix(Self.entryEnding) { use.messages += 1 }
            use.octets += Int64(facts.st_size)
        }
        return use
    }

    // MARK: Changing

    /// Makes the folder, and what is missing above it, and waits until that is on stable storage.
    func make(mode: mode_t) throws(SystemError) {
        try Folders.make(self.path, mode: mode)
        try Self.sync(self.path)
        guard let slash = self.path.lastIndex(of: "/") else { return }
        do throws(SystemError) {
            try Self.sync(slash == self.path.startIndex ? "/" : String(self.path[..<slash]))
        } catch {
            // The folder above is another user's and closed to us: ours was there before.
            guard error.code == EACCES else { throw error }
        }
    }

    /// Stores a message, and returns when both files and their names are on stable storage.
    ///
    /// A second try of the same event puts the same files in the place of the first one's.
    func store(
        _ entry: QuarantineEntry,
        _ pieces: MessageFeed,
        attempt: Int,
        mode: mode_t,
        before deadline: ContinuousClock.Instant
    ) throws {
        let mark = ".P\(getpid())A\(attempt)"
        let files = [
            (temporary: "\(self.path)/.\(entry.id).eml\(mark)", final: self.messagePath(entry.id)),
            (temporary: "\(self.path)/.\(entry.id).json\(mark)", final: self.entryPath(entry.id)),
        ]
        do {
            try Self.write(to: files[0].temporary, mode: mode) { try pieces.next() }
            var texts = [entry.text]
            try Self.write(to: files[1].temporary, mode: mode) { texts.popLast() }
            guard ContinuousClock.now < deadline else {
                throw PluginError("no time left to store the message")
            }
            for file in files {
                guard rename(file.temporary, file.final) == 0 else {
                    throw SystemError("rename", file.final, errno)
                }
            }
            try Self.sync(self.path)
        } catch {
            // Not the files that have their names: another try of this event may have answered for them.
            for file in files { unlink(file.temporary) }
            throw error
        }
    }

    /// Keeps other processes from handing a message on, until what it returns is gone.
    package func hold(_ id: String) throws(Failure) -> Descriptor {
        guard QuarantineEntry.isID(id) else { throw .unknown(id) }
        let path = self.entryPath(id)
        do throws(SystemError) {
            let file = try Descriptor(opening: path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
            if try file.lock() {
                // Another process may have handed it on and removed it before the lock was ours.
                if access(path, F_OK) == 0 { return file }
                throw SystemError("find", path, ENOENT)
            }
        } catch {
            throw error.code == ENOENT ? .unknown(id) : .system(error)
        }
        throw .busy(id)
    }

    /// Removes a message: its JSON file first, and then it is gone.
    package func remove(_ id: String) throws(Failure) {
        guard QuarantineEntry.isID(id) else { throw .unknown(id) }
        guard unlink(self.entryPath(id)) == 0 else {
            throw errno == ENOENT
                ? .unknown(id) : .system(SystemError("remove", self.entryPath(id), errno))
        }
        guard unlink(self.messagePath(id)) == 0 || errno == ENOENT else {
            throw .system(SystemError("remove", self.messagePath(id), errno))
        }
        do throws(SystemError) {
            try Self.sync(self.path)
        } catch {
            throw .system(error)
        }
    }

    private static func write(
        to path: String,
        mode: mode_t,
        _ next: () throws -> [UInt8]?
    ) throws {
        // What has this name is a crashed try's, of a process that had our number.
        unlink(path)
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
        let file = try Descriptor(opening: path, flags, mode: mode)
        try file.setMode(mode)
        while let piece = try next() { try file.write(piece.span) }
        try file.sync()
    }

    private static func sync(_ folder: String) throws(SystemError) {
        try Descriptor(opening: folder, O_RDONLY | O_DIRECTORY).sync()
    }
}

/// Keeps the messages of one folder within their limits, as far as one process can.
///
/// The folder is counted at first, after every ``recountAfter`` messages, and at the limit every
/// ``recountEvery``, because other workers store and the operator removes.
final class QuarantineAllowance: Sendable {
    static let recountAfter = 64
    static let recountEvery = Duration.seconds(10)

    private struct Count {
        var messages: Int
        var octets: Int64
        var storedSince = 0
        let countedAt = ContinuousClock.now
    }

    private let folder: QuarantineFolder
    private let maximumMessages: Int
    private let maximumOctets: Int64
    private let count = Mutex<Count?>(nil)

    init(_ folder: QuarantineFolder, messages: Int, octets: Int64) {
        self.folder = folder
        self.maximumMessages = messages
        self.maximumOctets = octets
    }

    /// Counts a message of `octets` in, if there is room.
    ///
    /// - Returns: Whether there is. Of a message that then cannot be stored the next count knows.
    func take(_ octets: Int64) throws(SystemError) -> Bool {
        try self.count.withLock { (count) throws(SystemError) in
            var current: Count
            if let known = count, !self.isOld(known, octets) {
                current = known
            } else {
                let use = try self.folder.use()
                current = Count(messages: use.messages, octets: use.octets)
            }
            defer { count = current }
            guard self.fits(current, octets) else { return false }
            current.messages += 1
            current.octets += octets
            current.storedSince += 1
            return true
        }
    }

    private func isOld(_ count: Count, _ octets: Int64) -> Bool {
        count.storedSince >= Self.recountAfter
            || !self.fits(count, octets)
                && ContinuousClock.now - count.countedAt >= Self.recountEvery
    }

    private func fits(_ count: Count, _ octets: Int64) -> Bool {
        count.messages < self.maximumMessages
            && count.octets <= self.maximumOctets - min(octets, self.maximumOctets)
            && octets <= self.maximumOctets
    }
}
