import Configuration
import Glibc
import System

/// The folder that holds the messages of one frontend until they are answered.
///
/// Owns `<spool_directory>/<frontend id>/`, the `out/<pool>/` and `for/<pool>/` folders in it, and
/// `<spool_directory>/poison/`. Files are 0640 and folders 0750: only the frontend's user and group
/// can read messages. Names are random (protocol/events.md, "The message").
///
/// A pool with a `group` of its own has `for/<pool>/`, which only that group can enter. The first
/// time that a worker of the pool gets the path of a message, the message's file gets a second name
/// there and becomes 0644; other workers cannot read it because they cannot enter the folder. If
/// some pool has a group, messages lie in `all/`, which only the frontend's own group can enter,
/// and the folder above is 0751, so that the pools' groups can pass through it.
struct SpoolDirectory: Sendable {
    /// Absolute path of this frontend's folder, what `welcome.spool` says.
    let path: String
    /// Absolute path of the folder for poison copies.
    let poisonPath: String
    /// Where messages lie: ``path``, or `all/` in it if some pool has a group of its own.
    private let messageFolder: String

    /// Makes the folders, and removes messages of an earlier run: they were not answered 250, so
    /// their clients send them again.
    ///
    /// - Throws: ``SystemError`` that names the folder and what to do.
    init(base: String, frontendID: String, pools: [FrontendConfiguration.Pool]) throws {
        self.path = base + "/" + frontendID
        self.poisonPath = base + "/poison"
        let hasGroups = pools.contains { $0.groupID != nil }
        self.messageFolder = hasGroups ? self.path + "/all" : self.path
        try Self.makeFolder(base, mode: 0o751)
        try Self.makeFolder(self.path, mode: 0o750)
        try Self.makeFolder(self.poisonPath, mode: 0o700)
        try Self.makeFolder(self.path + "/out", mode: 0o751)
        for pool in pools { try Self.makeFolder(self.outFolder(pool: pool.name), mode: 0o770) }
        self.removeLeftovers()
        guard hasGroups else { return }
        for (folder, mode) in [
            (self.messageFolder, mode_t(0o750)), (self.path + "/for", 0o751),
        ] {
            try Self.makeFolder(folder, mode: mode)
            guard chmod(folder, mode) == 0 else { throw SystemError("chmod", folder, errno) }
        }
        for pool in pools {
            guard let group = pool.groupID else { continue }
            try Self.makeFolder(self.groupFolder(pool: pool.name), mode: 0o750)
            try Self.give(self.groupFolder(pool: pool.name), mode: 0o750, to: group)
            try Self.give(self.outFolder(pool: pool.name), mode: 0o770, to: group)
        }
        // Only now: no message of an earlier run lies in the folder any more.
        guard chmod(self.path, 0o751) == 0 else { throw SystemError("chmod", self.path, errno) }
    }

    private static func give(_ folder: String, mode: mode_t, to group: gid_t) throws {
        guard lchown(folder, uid_t.max, group) == 0, chmod(folder, mode) == 0 else {
            throw SystemError("give the pool's group", folder, errno)
        }
    }

    /// Where workers of `pool` leave replacement messages.
    func outFolder(pool: String) -> String { self.path + "/out/" + pool }

    /// Where workers of `pool` find messages, if it has a group of its own.
    func groupFolder(pool: String) -> String { self.path + "/for/" + pool }

    /// A path for a new message; never one that was used before.
    ///
    /// `folder` is that of a pool with a group of its own; `nil`: the one of all other pools.
    func newMessagePath(in folder: String? = nil) -> String {
        (folder ?? self.messageFolder) + "/m" + String(UInt64.random(in: .min ... .max), radix: 36)
            + String(UInt64.random(in: .min ... .max), radix: 36)
    }

    /// Gives the message at `path` the second name `name` in `folder`; see ``newMessagePath(in:)``.
    func link(_ path: String, as name: String, in folder: String?) throws(SystemError) {
        if folder != nil, chmod(path, 0o644) != 0 {
            throw SystemError("let the pool's group read", path, errno)
        }
        guard Glibc.link(path, name) == 0 else { throw SystemError("link", name, errno) }
    }

    /// The paths of the messages in `folder`.
    private static func messages(in folder: String) -> [String] {
        ((try? Folders.names(in: folder)) ?? []).filter { $0.hasPrefix("m") }.map {
            folder + "/" + $0
        }
    }

    /// Paths of the names that messages have in the folders of pools with a group of their own.
    private func secondNames() -> [String] {
        ((try? Folders.names(in: self.path + "/for")) ?? [])
            .flatMap { Self.messages(in: self.groupFolder(pool: $0)) }
    }

    /// How many messages and octets the spool holds; blocks for as long as the file system does.
    ///
    /// A message in a pool's own folder is counted only if its other name was not.
    func usage() -> Usage {
        var usage = Usage()
        var seen: Set<UInt64> = []
        let messages = Self.messages(in: self.messageFolder)
        for (index, path) in (messages + self.secondNames()).enumerated() {
            var facts = stat()
            guard lstat(path, &facts) == 0 else { continue }
            let isNew = facts.st_nlink < 2 || seen.insert(UInt64(facts.st_ino)).inserted
            guard isNew || index < messages.count else { continue }
            usage.files += 1
            usage.octets += Int64(facts.st_size)
        }
        return usage
    }

    struct Usage: Sendable, Equatable {
        var files: Int64 = 0
        var octets: Int64 = 0
    }

    private func removeLeftovers() {
        for path in Self.messages(in: self.path) { unlink(path) }
        // Also in folders of pools that are no longer configured or no longer have a group.
        for folder in ["/all", "/for"] {
            OutFolder.sweep(self.path + folder, changedBefore: nil)
        }
        OutFolder.sweepAll(self.path + "/out")
    }

    /// Makes the folder `path` and the missing folders above it.
    private static func makeFolder(_ path: String, mode: mode_t) throws {
        try Folders.make(path, mode: mode)
        var facts = stat()
        guard lstat(path, &facts) == 0 else { throw SystemError("stat", path, errno) }
        guard facts.st_mode & S_IFMT == S_IFDIR else { throw SystemError("open", path, ENOTDIR) }
        guard access(path, W_OK | X_OK) == 0 else { throw SystemError("write to", path, errno) }
    }
}
