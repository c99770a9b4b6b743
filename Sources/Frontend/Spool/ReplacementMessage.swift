import Glibc
import PolicyCore
import SMTPCore
import System

/// Takes over a message that a worker left in its pool's `out/` folder.
///
/// The worker's file is hostile: it may be a link, a device, a FIFO, another user's file, or still
/// growing. So it is opened relative to the folder without following links, checked through the
/// descriptor, and copied; the worker's own file is never queued. These system calls may wait for a
/// disk, so they run on the thread pool.
enum ReplacementMessage {
    /// Why a worker's file is not taken; each makes its whole verdict invalid.
    enum Refusal: Error, Equatable {
        /// The path leaves the pool's folder, or names a folder below it.
        case outsideFolder
        case cannotOpen(Int32)
        /// A link, FIFO, device or folder, or a file with a second name.
        case notPlainFile
        case wrongOwner
        case tooLarge
        /// The header section has more octets or fields than that of a received message may have.
        case headerTooLarge
        /// A CR or LF on its own, which another server could take for a line's end.
        case bareNewline
        /// It changed while it was read.
        case unstable
    }

    /// Copies the file to `destination`, which must not exist.
    ///
    /// `path` is what the worker sent: an absolute path in `folder`, or a name in it. `owner` is
    /// the uid of the worker's process, `limit` the largest size accepted, in octets, and
    /// `headerLimits` the most octets and fields of the header section. A message that is too large
    /// is refused, not cut. Throws ``Refusal`` if the worker is at fault, ``SystemError`` if our
    /// disk is.
    static func take(
        _ path: String,
        folder: String,
        owner: uid_t,
        limit: Int,
        headerLimits: (octets: Int, fields: Int),
        destination: String
    ) throws -> ReplacedMessage {
        let name = try self.name(path, folder: folder)
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard directory >= 0 else { throw SystemError("open", folder, errno) }
        defer { close(directory) }
        // Non-blocking, so that a FIFO cannot hold a thread.
        let source = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard source >= 0 else { throw self.openFailed(name, errno) }
        defer { close(source) }
        let size = try self.check(source, owner: owner, limit: limit)
        do {
            let copy = try self.copy(source, size, headerLimits, to: destination)
            unlinkat(directory, name, 0)
            return copy
        } catch {
            unlink(destination)
            throw error
        }
    }

    /// Removes a file that is not to be taken over, if it lies in the folder.
    static func remove(_ path: String, folder: String) {
        guard let name = try? self.name(path, folder: folder) else { return }
        let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard directory >= 0 else { return }
        unlinkat(directory, name, 0)
        close(directory)
    }

    /// The file's name in `folder`.
    private static func name(_ path: String, folder: String) throws(Refusal) -> String {
        let name =
            path.hasPrefix(folder + "/") ? String(path.dropFirst(folder.utf8.count + 1)) : path
        guard !name.isEmpty, name != ".", name != "..", !name.utf8.contains(UInt8(ascii: "/")),
            !name.utf8.contains(0)
        else { throw .outsideFolder }
        return name
    }

    /// If the file does not exist, is a link or a socket, or may not be read, the worker is at
    /// fault; any other failure to open it is ours.
    private static func openFailed(_ name: String, _ code: Int32) -> any Error {
        switch code {
        case ENOENT, ELOOP, ENXIO, ENODEV, EACCES, EPERM, ENAMETOOLONG, ENOTDIR:
            Refusal.cannotOpen(code)
        default: SystemError("open the replacement", name, code)
        }
    }

    private static func check(_ source: Int32, owner: uid_t, limit: Int) throws -> Int {
        var facts = stat()
        guard fstat(source, &facts) == 0 else {
            throw SystemError("look at the replacement in", "out/", errno)
        }
        guard facts.st_mode & S_IFMT == S_IFREG, facts.st_nlink == 1 else {
            throw Refusal.notPlainFile
        }
        guard facts.st_uid == owner else { throw Refusal.wrongOwner }
        guard facts.st_size >= 0, facts.st_size <= limit else { throw Refusal.tooLarge }
        return Int(facts.st_size)
    }

    private static func copy(
        _ source: Int32,
        _ size: Int,
        _ headerLimits: (octets: Int, fields: Int),
        to destination: String
    ) throws -> ReplacedMessage {
        var head = ReplacementHead(maximumOctets: headerLimits.octets, headerLimits.fields)
        var written = 0
        var lineEnds = LineEndCheck()
        var descriptor: Int32 = -1
        defer { if descriptor >= 0 { close(descriptor) } }
        var remaining = size
        while true {
            guard let octets = DescriptorCalls.read(source) else {
                throw SystemError("read the replacement for", destination, errno)
            }
            guard octets.count <= remaining else { throw Refusal.unstable }
            remaining -= octets.count
            guard lineEnds.accepts(octets) else { throw Refusal.bareNewline }
            // Empty until the header section is complete.
            let ready = octets.isEmpty ? head.finish() : try head.read(octets)
            written += ready.count
            if !ready.isEmpty || octets.isEmpty && descriptor < 0 {
                descriptor = try SpoolFileCalls.append(ready, to: descriptor, path: destination)
            }
            guard !octets.isEmpty else { break }
        }
        guard remaining == 0 else { throw Refusal.unstable }
        guard lineEnds.isComplete else { throw Refusal.bareNewline }
        return ReplacedMessage(size: written, header: head.header)
    }
}

/// Holds back the start of a file until its header section is complete, then applies
/// ``HeaderBorder``.
private struct ReplacementHead {
    private var section = HeaderSectionReader()
    private let maximumOctets: Int
    private let maximumFields: Int
    private var held: [UInt8] = []
    private var isComplete = false
    private(set) var header: [UInt8] = []

    init(maximumOctets: Int, _ maximumFields: Int) {
        self.maximumOctets = maximumOctets
        self.maximumFields = maximumFields
    }

    /// Takes the next octets of the file.
    ///
    /// - Returns: The octets that can be written now.
    mutating func read(_ octets: [UInt8]) throws(ReplacementMessage.Refusal) -> [UInt8] {
        guard !self.isComplete else { return octets }
        self.held += octets
        self.section.read(octets.span)
        guard self.section.octets <= self.maximumOctets, self.section.fields <= self.maximumFields
        else { throw .headerTooLarge }
        return self.section.bodyOffset.map { self.complete(bodyOffset: $0) } ?? []
    }

    /// The file has ended.
    ///
    /// - Returns: The octets that are still to be written.
    mutating func finish() -> [UInt8] {
        guard !self.isComplete else { return [] }
        return self.complete(bodyOffset: self.section.finalBodyOffset)
    }

    private mutating func complete(bodyOffset: Int) -> [UInt8] {
        var octets: [UInt8] = []
        swap(&octets, &self.held)
        let bodyOffset = HeaderBorder.close(&octets, bodyOffset: bodyOffset)
        self.header = Array(octets.prefix(bodyOffset))
        self.isComplete = true
        return octets
    }
}

/// Checks that an LF follows every CR and that a CR precedes every LF.
struct LineEndCheck {
    private var sawReturn = false

    /// False while the octets so far end with a CR.
    var isComplete: Bool { !self.sawReturn }

    mutating func accepts(_ octets: [UInt8]) -> Bool {
        for octet in octets {
            guard self.sawReturn == (octet == 0x0A) else { return false }
            self.sawReturn = octet == 0x0D
        }
        return true
    }
}
