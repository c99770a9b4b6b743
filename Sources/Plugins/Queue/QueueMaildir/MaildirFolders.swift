import Glibc
import Synchronization
import System

/// Maildirs that are known to exist, and to exist after a crash.
///
/// A file that was synced is not safe in a folder that was not. So the first delivery into a
/// Maildir makes what is missing and syncs the chain of folders down to it, also folders that another process made.
///
/// May be used from any thread.
final class MaildirFolders: Sendable {
    /// How many are remembered; then the next delivery to each looks again.
    static let maximumKnown = 10_000

    /// The folder of the configuration: its parents are made if missing, and synced once.
    private let root: String
    private let mode: mode_t
    /// How many Maildirs there may be below ``root``; `nil` where there are none.
    private let allowance: MaildirAllowance?
    private let known = Mutex<Set<String>>([])
    /// Of ``root``, for one Maildir that takes the mail of all recipients.
    private let rootSync: SharedSync

    init(root: String, mode: mode_t, allowance: MaildirAllowance? = nil) {
        self.root = root
        self.mode = mode
        self.allowance = allowance
        self.rootSync = SharedSync { () throws(MaildirError) in try Self.sync("\(root)/new") }
    }

    /// Makes sure that `maildir` and its `tmp`, `new` and `cur` are there and safe.
    ///
    /// - Parameter maildir: ``root`` or a path below it.
    /// - Throws: ``MaildirError``, and then it is looked at again next time.
    func prepare(_ maildir: String) throws(MaildirError) {
        guard !self.known.withLock({ $0.contains(maildir) }) else { return }
        try self.allowance?.take(maildir, below: self.root)
        try self.make(maildir)
        for name in ["tmp", "new", "cur"] {
            try self.makeOne("\(maildir)/\(name)")
        }
        try Self.sync(maildir)
        var path = maildir
        while path.utf8.count > self.root.utf8.count, let parent = Self.parent(of: path) {
            try Self.sync(parent)
            path = parent
        }
        try self.syncAboveRoot()
        self.known.withLock { known in
            if known.count >= Self.maximumKnown { known.removeAll() }
            known.insert(maildir)
        }
    }

    /// Syncs the folder above the root, unless it is another user's and closed to us.
    ///
    /// Then it was there before us, and the root in it too: what we make is synced where it is made.
    private func syncAboveRoot() throws(MaildirError) {
        guard let parent = Self.parent(of: self.root) else { return }
        do {
            try Self.sync(parent)
        } catch let error where error.code == EACCES {
            return
        }
    }

    /// The Maildir was removed: the next delivery looks again.
    func forget(_ maildir: String) {
        self.known.withLock { _ = $0.remove(maildir) }
    }

    /// Waits until the names in the Maildir's `new` are on stable storage.
    func syncNew(_ maildir: String) throws(MaildirError) {
        guard maildir == self.root else { return try Self.sync("\(maildir)/new") }
        try self.rootSync.sync()
    }

    static func sync(_ folder: String) throws(MaildirError) {
        try MaildirError.wrapping { () throws(SystemError) in
            try Descriptor(opening: folder, O_RDONLY | O_DIRECTORY).sync()
        }
    }

    /// Makes a folder and its parents; what the parents need is synced where it was made.
    private func make(_ folder: String) throws(MaildirError) {
        var status = stat()
        if stat(folder, &status) == 0 { return }
        if let parent = Self.parent(of: folder) {
            try self.make(parent)
            try self.makeOne(folder)
            try Self.sync(parent)
        } else {
            try self.makeOne(folder)
        }
    }

    private func makeOne(_ folder: String) throws(MaildirError) {
        guard mkdir(folder, self.mode) == 0 else {
            if errno == EEXIST { return }
            throw MaildirError("mkdir \(folder)")
        }
        // The mask of the process is not to narrow what the operator wrote.
        guard chmod(folder, self.mode) == 0 else { throw MaildirError("chmod \(folder)") }
    }

    private static func parent(of path: String) -> String? {
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return nil }
        return String(path[..<slash])
    }
}
