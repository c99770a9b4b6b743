import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Copies of poisoned questions for the plugin's author: the event in `<fingerprint>.event.json`
/// and the message in `<fingerprint>.eml`.
///
/// They are 0600, because they are personal data.
///
/// Any event loop may use it; the thread pool writes the files. When an operator removes an event's
/// file, the question may be asked again: that is all that `gatepost poison forget` does.
final class PoisonEvidence: Sendable {
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
    private let kept = Mutex<Set<UInt64>>([])

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
        .whenSuccess { isKept in
            defer { self.trim() }
            guard isKept else { return }
            self.kept.withLock { kept in
                // Makes room: forgets fingerprints whose files are gone.
                if kept.count >= Self.capacity { kept = kept.filter { !self.isGone($0) } }
                if kept.count < Self.capacity { kept.insert(fingerprint) }
            }
        }
    }

    /// Removes the oldest files when there are too many; their questions stay poison.
    func trim() {
        let folder = self.folder
        self.threads.runIfActive(eventLoop: self.loop) {
            PoisonFiles.surplus(in: folder, files: Self.maximumFiles, octets: Self.maximumOctets)
        }
        .whenSuccess { names in
            guard !names.isEmpty else { return }
            self.kept.withLock { $0.subtract(names.compactMap { UInt64($0, radix: 16) }) }
            self.threads.submit { _ in
                for name in names { PoisonFiles.remove(base: folder + "/" + name) }
            }
        }
    }

    /// Whether this fingerprint's files were written.
    func isKept(_ fingerprint: UInt64) -> Bool { self.kept.withLock { $0.contains(fingerprint) } }

    /// Whether the event's file was written and has been removed since; says so once.
    ///
    /// It asks the file system, but is called only for a question that is poison.
    func isRemoved(_ fingerprint: UInt64) -> Bool {
        self.kept.withLock { kept in
            guard kept.contains(fingerprint), self.isGone(fingerprint) else { return false }
            kept.remove(fingerprint)
            return true
        }
    }

    private func isGone(_ fingerprint: UInt64) -> Bool {
        access(self.base(fingerprint) + PoisonFiles.eventEnding, F_OK) != 0 && errno == ENOENT
    }
}
