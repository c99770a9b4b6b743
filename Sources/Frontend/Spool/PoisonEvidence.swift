import Glibc
import NIOCore
import NIOPosix

/// Copies of what workers died of, for the plugin's author: `<fingerprint>.event.json` and
/// `<fingerprint>.eml`, 0600, for they are personal data.
///
/// Confined to the event loop; files are written on the threads. Who removes an event's file says
/// that it may be asked again: `gatepost poison forget` is that and nothing more.
final class PoisonEvidence {
    /// How many are watched, which is more than sixteen pools remember; those beyond are refused for
    /// their hour whatever becomes of their files.
    static let capacity = 65_536

    /// Events and octets that are kept in the folder; beyond, the oldest go.
    static let (mostFiles, mostOctets) = (1_000, Int64(1_073_741_824))

    private let folder: String
    private let loop: any EventLoop
    private let threads: NIOThreadPool
    /// What was written.
    private var kept: Set<UInt64> = []

    init(folder: String, loop: any EventLoop, threads: NIOThreadPool) {
        self.folder = folder
        self.loop = loop
        self.threads = threads
    }

    /// What the files of this fingerprint are called, without their endings.
    static func name(_ fingerprint: UInt64) -> String { String(fingerprint, radix: 16) }

    private func base(_ fingerprint: UInt64) -> String {
        self.folder + "/" + Self.name(fingerprint)
    }

    /// Writes both files; a failure costs the evidence and nothing else.
    ///
    /// `message` is the path of the message, `nil` if no worker was given any.
    func keep(_ fingerprint: UInt64, event: [UInt8], message: String?) {
        let base = self.base(fingerprint)
        // The message is opened now: it is removed as soon as the client has its answer.
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

    /// Removes the oldest files of what is too much; their events are not forgotten by that.
    func trim() {
        let folder = self.folder
        self.threads.runIfActive(eventLoop: self.loop) {
            PoisonFiles.surplus(in: folder, files: Self.mostFiles, octets: Self.mostOctets)
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

    /// Whether its files were written.
    func isKept(_ fingerprint: UInt64) -> Bool { self.kept.contains(fingerprint) }

    /// Whether the file was written and is gone; then it is not watched any more.
    ///
    /// One look at the disk, and only for a question that is known as poison.
    func isRemoved(_ fingerprint: UInt64) -> Bool {
        guard self.kept.contains(fingerprint), self.isGone(fingerprint) else { return false }
        self.kept.remove(fingerprint)
        return true
    }

    private func isGone(_ fingerprint: UInt64) -> Bool {
        access(self.base(fingerprint) + PoisonFiles.eventEnding, F_OK) != 0 && errno == ENOENT
    }

    /// Makes room: files that nobody asked about again may be long gone.
    private func dropForgotten() { self.kept = self.kept.filter { !self.isGone($0) } }
}

@available(*, unavailable)
extension PoisonEvidence: Sendable {}
