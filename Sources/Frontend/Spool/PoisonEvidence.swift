import Glibc
import NIOCore
import NIOPosix

/// Copies of poisoned questions for the plugin's author: the event in `<fingerprint>.event.json`
/// and the message in `<fingerprint>.eml`.
///
/// They are 0600, because they are personal data.
///
/// Confined to the event loop; the thread pool writes the files. When an operator removes an
/// event's file, the question may be asked again: that is all that `gatepost poison forget` does.
final class PoisonEvidence {
    /// For how many fingerprints a removed file is noticed: more than sixteen pools remember.
    ///
    /// The questions of further fingerprints stay refused until they are forgotten after an hour.
    static let capacity = 65_536

    /// How many events and octets are kept in the folder; beyond that the oldest events are
    /// removed.
    static let (maximumFiles, maximumOctets) = (1_000, Int64(1_073_741_824))

    private let folder: String
    private let loop: any EventLoop
    private let threads: NIOThreadPool
    /// The fingerprints whose files were written.
    private var kept: Set<UInt64> = []

    init(folder: String, loop: any EventLoop, threads: NIOThreadPool) {
        self.folder = folder
        self.loop = loop
        self.threads = threads
    }

    /// The name of this fingerprint's files, without their endings.
    static func name(_ fingerprint: UInt64) -> String { String(fingerprint, radix: 16) }

    private func base(_ fingerprint: UInt64) -> String {
        self.folder + "/" + Self.name(fingerprint)
    }

    /// Writes both files; if that fails, only the evidence is lost.
    ///
    /// `message` is the path of the message; `nil` if workers got no path.
    func keep(_ fingerprint: UInt64, event: [UInt8], message: String?) {
        let base = self.base(fingerprint)
        // The message is opened now, because the session removes it when the client has its reply.
        let source = message.map { open($0, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) } ?? -1
        self.threads.runIfActive(eventLoop: self.loop) {
            PoisonFiles.keep(event: event, message: source, base: base)
        }
        .assumeIsolated()
        .whenSuccess { isKept in
            defer { self.trim() }
            guard isKept else { return }
            if self.kept.count >= Self.capacity { self.dropForgotten() }
            if self.kept.count < Self.capacity { self.kept.insert(fingerprint) }
        }
    }

    /// Removes the oldest files when there are too many; their questions stay poison.
    func trim() {
        let folder = self.folder
        self.threads.runIfActive(eventLoop: self.loop) {
            PoisonFiles.surplus(in: folder, files: Self.maximumFiles, octets: Self.maximumOctets)
        }
        .assumeIsolated()
        .whenSuccess { names in
            guard !names.isEmpty else { return }
            for name in names {
                if let fingerprint = UInt64(name, radix: 16) { self.kept.remove(fingerprint) }
            }
            self.threads.submit { _ in
                for name in names { PoisonFiles.remove(base: folder + "/" + name) }
            }
        }
    }

    /// Whether this fingerprint's files were written.
    func isKept(_ fingerprint: UInt64) -> Bool { self.kept.contains(fingerprint) }

    /// Whether the event's file was written and has been removed since; says so once.
    ///
    /// It asks the file system, but is called only for a question that is poison.
    func isRemoved(_ fingerprint: UInt64) -> Bool {
        guard self.kept.contains(fingerprint), self.isGone(fingerprint) else { return false }
        self.kept.remove(fingerprint)
        return true
    }

    private func isGone(_ fingerprint: UInt64) -> Bool {
        access(self.base(fingerprint) + PoisonFiles.eventEnding, F_OK) != 0 && errno == ENOENT
    }

    /// Makes room in `kept`: forgets fingerprints whose files are gone.
    private func dropForgotten() { self.kept = self.kept.filter { !self.isGone($0) } }
}

@available(*, unavailable)
extension PoisonEvidence: Sendable {}
