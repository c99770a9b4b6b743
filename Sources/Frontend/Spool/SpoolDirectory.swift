import Configuration
import Glibc

/// The folder that holds the messages of one frontend while policy looks at them.
///
/// Owns `<spool_directory>/<frontend id>/`, the `out/<pool>/` folders in it, and
/// `<spool_directory>/poison/`. Files are 0640 and folders 0750, so that a group can read what it
/// is told of and nobody else anything. Names are random (protocol §7).
struct SpoolDirectory: Sendable {
    /// Absolute path of this frontend's folder, what `welcome.spool` says.
    let path: String
    /// Absolute path of the folder for poison copies.
    let poisonPath: String

    /// Makes the folders and removes what an earlier run left: a message that was not answered 250
    /// is its client's to send again.
    ///
    /// - Throws: ``SystemError`` that names the folder and what to do.
    init(base: String, frontendID: String, pools: [String]) throws {
        self.path = base + "/" + frontendID
        self.poisonPath = base + "/poison"
        try Self.makeFolder(base, mode: 0o751)
        try Self.makeFolder(self.path, mode: 0o750)
        try Self.makeFolder(self.poisonPath, mode: 0o700)
        try Self.makeFolder(self.path + "/out", mode: 0o751)
        for pool in pools { try Self.makeFolder(self.outFolder(pool: pool), mode: 0o770) }
        self.removeLeftovers()
    }

    /// Where workers of `pool` leave replacement messages.
    func outFolder(pool: String) -> String { self.path + "/out/" + pool }

    /// A path for a new message; never one that was used before.
    func newMessagePath() -> String {
        self.path + "/m" + String(UInt64.random(in: .min ... .max), radix: 36)
            + String(UInt64.random(in: .min ... .max), radix: 36)
    }

    /// Names of messages that lie in the folder now.
    func leftovers() -> [String] {
        (FilePath.names(in: self.path) ?? []).filter { $0.hasPrefix("m") }
    }

    /// What lies in the folder now; blocks for as long as the file system does.
    func usage() -> Usage {
        var usage = Usage()
        for name in self.leftovers() {
            var facts = stat()
            guard lstat(self.path + "/" + name, &facts) == 0 else { continue }
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
        for name in self.leftovers() { unlink(self.path + "/" + name) }
        // Of pools that are not configured any more too.
        OutFolder.sweepAll(self.path + "/out")
    }

    /// Makes `path` and what is missing above it.
    private static func makeFolder(_ path: String, mode: mode_t) throws {
        var missing: [String] = []
        var folder = path
        while !folder.isEmpty, folder != "/", access(folder, F_OK) != 0 {
            missing.append(folder)
            folder = String(folder[..<(folder.lastIndex(of: "/") ?? folder.startIndex)])
        }
        for folder in missing.reversed() {
            guard mkdir(folder, folder == path ? mode : 0o755) == 0 || errno == EEXIST else {
                throw SystemError("mkdir", folder, errno)
            }
            chmod(folder, folder == path ? mode : 0o755)
        }
        var facts = stat()
        guard lstat(path, &facts) == 0 else { throw SystemError("stat", path, errno) }
        guard facts.st_mode & S_IFMT == S_IFDIR else { throw SystemError("open", path, ENOTDIR) }
        guard access(path, W_OK | X_OK) == 0 else { throw SystemError("write to", path, errno) }
    }
}

/// A system call that failed: which, on what, and why.
struct SystemError: Error, Equatable, CustomStringConvertible {
    let call: String
    let subject: String
    /// The `errno` of the failure.
    let code: Int32

    init(_ call: String, _ subject: String, _ code: Int32) {
        self.call = call
        self.subject = subject
        self.code = code
    }

    var description: String {
        "cannot \(self.call) \(self.subject): \(String(cString: strerror(self.code)))"
    }
}
