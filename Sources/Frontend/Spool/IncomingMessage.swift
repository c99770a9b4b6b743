import NIOCore
import NIOPosix
import SMTPCore
import System

/// The message that is arriving or has arrived.
///
/// It is kept in memory while it is small, and in a spool file once it grows or a worker needs it.
///
/// Confined to its event loop. Policy cannot change its octets; it can only replace the whole
/// message.
final class IncomingMessage {
    private let server: ServerLoop
    private var memory: [UInt8] = []
    private var file: SpoolFile?
    /// The file and size of the message that policy put in place of this one.
    private var replacement: (path: String, size: Int)?
    /// The file's second names, by the folders of pools that have a group of their own.
    private var namesInFolders: [String: String] = [:]
    /// Why the file could not get a second name.
    private var linkFailure: SystemError?

    /// The header section is complete: from here on octets may go to the file.
    private var isHeaderComplete = false

    init(server: ServerLoop) { self.server = server }

    /// How many octets have come so far.
    var size: Int { self.replacement?.size ?? self.memory.count + (self.file?.size ?? 0) }

    /// Octets of memory that it holds.
    var heldOctets: Int { self.memory.capacity + (self.file?.waitingOctets ?? 0) }

    /// Why the message could not be written; it cannot be accepted then.
    var failure: SystemError? { self.file?.failure ?? self.linkFailure }

    /// Whether a write is under way: the session takes no more octets until ``whenWritten(_:)``
    /// calls back.
    var isBehind: Bool { self.file?.isBusy ?? false }

    /// The path of the file; `nil` while octets are missing in it.
    var path: String? {
        if let replacement { return replacement.path }
        guard let file, self.memory.isEmpty, !file.isBusy, file.failure == nil else { return nil }
        return file.path
    }

    /// The path of the file's second name in `folder`, which belongs to a pool with a group of its
    /// own.
    ///
    /// The first call makes the name. `nil` while octets are missing in the file; also if the name
    /// could not be made, and then ``failure`` says why.
    func path(in folder: String) -> String? {
        if let name = self.namesInFolders[folder] { return name }
        guard let path = self.path, self.linkFailure == nil else { return nil }
        let name = self.server.spool.newMessagePath(in: folder)
        do throws(SystemError) {
            try self.server.spool.link(path, as: name, in: folder)
        } catch {
            self.linkFailure = error
            return nil
        }
        self.namesInFolders[folder] = name
        return name
    }

    /// Takes all octets out of `content`.
    ///
    /// They stay in memory until the header is complete and there are more than `limit`.
    func append(_ content: inout [UInt8], keepingMemoryUpTo limit: Int) {
        if self.isHeaderComplete, !self.memory.isEmpty, self.memory.count + content.count > limit {
            self.spill()
        }
        if self.memory.isEmpty {
            swap(&self.memory, &content)
        } else {
            self.memory += content
        }
        content.removeAll(keepingCapacity: true)
        if self.isHeaderComplete, self.memory.count > limit { self.spill() }
    }

    /// Applies ``HeaderBorder`` to the header section, which ends at `bodyOffset`.
    ///
    /// All octets must still be in memory.
    ///
    /// - Returns: Where the header section ends now.
    func closeHeader(at bodyOffset: Int) -> Int {
        self.isHeaderComplete = true
        return HeaderBorder.close(&self.memory, bodyOffset: bodyOffset)
    }

    /// The first `count` octets, which must still be in memory.
    func head(_ count: Int) -> [UInt8] { Array(self.memory.prefix(count)) }

    private func spill() {
        guard !self.memory.isEmpty || self.file == nil else { return }
        let file =
            self.file
            ?? SpoolFile(
                path: self.server.spool.newMessagePath(),
                loop: self.server.loop,
                threads: self.server.threads
            )
        self.file = file
        file.append(self.memory)
        self.memory = []
    }

    /// Writes the octets that the file lacks, and calls `body` when they are written or writing
    /// failed.
    func store(_ body: @escaping () -> Void) {
        if !self.memory.isEmpty || self.file == nil { self.spill() }
        self.whenWritten(body)
    }

    /// Calls `body` when no octets wait to be written.
    func whenWritten(_ body: @escaping () -> Void) {
        guard let file = self.file else { return self.server.loop.assumeIsolated().execute(body) }
        file.flush(body)
    }

    /// Policy put another message in its place.
    func replace(with path: String, size: Int) {
        self.removeFiles()
        self.memory = []
        self.replacement = (path, size)
    }

    /// Removes the message's files.
    func discard() {
        self.removeFiles()
        self.memory = []
    }

    private func removeFiles() {
        self.file?.discard()
        self.file = nil
        for name in self.namesInFolders.values { self.server.removeSoon(name) }
        self.namesInFolders = [:]
        guard let path = self.replacement?.path else { return }
        self.replacement = nil
        self.server.removeSoon(path)
    }
}

@available(*, unavailable)
extension IncomingMessage: Sendable {}
