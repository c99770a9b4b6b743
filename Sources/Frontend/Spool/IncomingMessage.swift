import NIOCore
import NIOPosix
import SMTPCore

/// The message that is arriving or has arrived: in memory while it is small and nobody reads it, in
/// a spool file once somebody does or it grows.
///
/// Confined to its event loop. Immutable for policy: replaced as a whole or not at all.
final class IncomingMessage {
    private let server: FrontendServer
    private var memory: [UInt8] = []
    private var file: SpoolFile?
    /// A file that policy put in the message's place; its size.
    private var replacement: (path: String, size: Int)?
    /// Its names in the folders of pools that have a group of their own.
    private var namesInFolders: [String: String] = [:]
    /// Why it could not be given such a name.
    private var linkFailure: SystemError?

    init(server: FrontendServer) { self.server = server }

    /// Octets so far.
    var size: Int { self.replacement?.size ?? self.memory.count + (self.file?.size ?? 0) }

    /// Octets of memory that it holds.
    var heldOctets: Int { self.memory.capacity + (self.file?.waitingOctets ?? 0) }

    /// What went wrong with the disk; the message cannot be accepted then.
    var failure: SystemError? { self.file?.failure ?? self.linkFailure }

    /// Whether the disk is behind: take no more octets until ``whenWritten(_:)`` calls back.
    var isBehind: Bool { self.file?.isBusy ?? false }

    /// The file, if everything is in it.
    var path: String? {
        if let replacement { return replacement.path }
        guard let file, self.memory.isEmpty, !file.isBusy, file.failure == nil else { return nil }
        return file.path
    }

    /// Its path in `folder`, that of a pool with a group of its own; made when it is asked for first.
    ///
    /// `nil` if not everything is in its file, or ``failure`` says why.
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

    /// Takes over all of `content`; keeps `keepingMemoryUpTo` octets out of the file.
    func append(_ content: inout [UInt8], keepingMemoryUpTo limit: Int) {
        if self.memory.isEmpty {
            swap(&self.memory, &content)
        } else {
            self.memory += content
        }
        content.removeAll(keepingCapacity: true)
        if self.memory.count > limit { self.spill() }
    }

    /// The header section is complete and ends at `bodyOffset`, and all octets are in memory still.
    ///
    /// - Returns: Where it ends now that ``HeaderBorder`` has seen to it.
    func closeHeader(at bodyOffset: Int) -> Int {
        HeaderBorder.close(&self.memory, bodyOffset: bodyOffset)
    }

    /// The first `count` octets, which are in memory still.
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

    /// Writes all of it to the file, if it is not there, and calls `body` when it is or never will be.
    func store(_ body: @escaping () -> Void) {
        if !self.memory.isEmpty || self.file == nil { self.spill() }
        self.whenWritten(body)
    }

    /// Calls `body` when nothing waits to be written.
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

    /// The message is over; its files go.
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
