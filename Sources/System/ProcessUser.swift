import CLinux
import Glibc

/// The user and the group that a program becomes when it was started as root.
package struct ProcessUser: Sendable, Equatable {
    /// As `user` names it: a name, or a number that has none.
    package let name: String
    package let userID: UInt32
    package let groupID: UInt32
    /// Whether the system has an entry for ``name``, and so a list of its groups.
    private let hasEntry: Bool

    package init(name: String, userID: UInt32, groupID: UInt32, hasEntry: Bool) {
        self.name = name
        self.userID = userID
        self.groupID = groupID
        self.hasEntry = hasEntry
    }

    /// Whether this process can become another user.
    package static var isRoot: Bool { geteuid() == 0 }

    /// Becomes the user for good, with its groups; does nothing if this process is the user already.
    ///
    /// Called on the main thread, before another one starts. In a program whose entry point is async, the
    /// main thread has left its place by then (pthread_exit(3)) and would stay root; see
    /// ``startAgain()``.
    ///
    /// - Throws: ``SystemError`` if it is neither root nor the user, or some thread is root or could become
    ///   root again. Then the process must end, because its rights are in between.
    package func become() throws(SystemError) {
        guard Self.isRoot else {
            guard getuid() == self.userID, geteuid() == self.userID else {
                throw SystemError("become (start as root, or as this user)", self.name, EPERM)
            }
            return
        }
        try self.change()
        guard self.isEveryThread else {
            throw SystemError("give up root in each thread for", self.name, EPERM)
        }
    }

    /// Becomes the user for good and starts this program again, with the same arguments, environment and
    /// descriptors: no thread of before is left then.
    ///
    /// - Returns: Why that is not possible; then the process must end.
    package func startAgain() -> SystemError {
        do throws(SystemError) {
            try self.change()
        } catch {
            return error
        }
        return Spawn.become(CommandLine.arguments, program: Machine.programPath)
    }

    /// Does `body` with the rights of the user, and is root again after it.
    ///
    /// Only for root, and in a program with one thread.
    ///
    /// - Throws: ``SystemError`` if it cannot take the user's ids, or root's again.
    package func acting<Value>(_ body: () -> Value) throws(SystemError) -> Value {
        var groups = [gid_t](repeating: 0, count: max(0, Int(getgroups(0, nil))))
        let count = getgroups(Int32(groups.count), &groups)
        let taken =
            count == groups.count
            && (self.hasEntry
                ? initgroups(self.name, self.groupID) : setgroups(1, [self.groupID])) == 0
            && setegid(self.groupID) == 0 && seteuid(self.userID) == 0
        let code = errno
        let value = taken ? body() : nil
        guard seteuid(0) == 0, setegid(0) == 0, setgroups(groups.count, groups) == 0 else {
            throw SystemError("become root again after", self.name, errno)
        }
        guard let value else { throw SystemError("become", self.name, code) }
        return value
    }

    /// Whether the kernel has each thread of this process as the user, in every of its ids.
    ///
    /// Where /proc cannot be read it is not known, and taken for granted.
    private var isEveryThread: Bool {
        let ids = "\nUid:" + String(repeating: "\t\(self.userID)", count: 4) + "\n"
        guard let folder = opendir("/proc/self/task") else { return true }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard UInt32(name) != nil,
                let file = try? Descriptor(reading: "/proc/self/task/\(name)/status"),
                let octets = try? file.readAll(limit: 65_536)
            else { continue }
            guard String(decoding: octets, as: UTF8.self).contains(ids) else { return false }
        }
        return true
    }

    /// Changes the ids of this process for good.
    private func change() throws(SystemError) {
        // The kernel forgets the signal when a process changes its user.
        let (parent, signal) = (getppid(), gatepost_signal_of_parent_death())
        let groups =
            self.hasEntry ? initgroups(self.name, self.groupID) : setgroups(1, [self.groupID])
        guard groups == 0, setgid(self.groupID) == 0, setuid(self.userID) == 0 else {
            throw SystemError("become", self.name, errno)
        }
        guard setuid(0) != 0, seteuid(0) != 0, getuid() == self.userID, geteuid() == self.userID
        else { throw SystemError("give up root for", self.name, EPERM) }
        guard signal > 0 else { return }
        guard gatepost_die_with_parent(signal) == 0, getppid() == parent else {
            throw SystemError("go on without", "the process that started it", ESRCH)
        }
    }

    /// Makes a folder that is not there yet, for this user.
    ///
    /// Only root can, for others nothing happens. Missing folders above it are root's, 0755. With `isShared` the folder stays root's: the group may make files in it, and each file can be
    /// removed by its owner only.
    package func makeFolder(_ path: String, isShared: Bool) throws(SystemError) {
        guard Self.isRoot, access(path, F_OK) != 0 else { return }
        try Folders.make(above: path)
        // The mode comes with the folder: it is the user's from then on, who could put a link in its
        // place before a chmod(2).
        let before = umask(0)
        let result = mkdir(path, isShared ? 0o1771 : 0o751)
        let code = errno
        umask(before)
        guard result == 0 else {
            if code == EEXIST { return }
            throw SystemError("mkdir", path, code)
        }
        guard lchown(path, isShared ? 0 : self.userID, self.groupID) == 0 else {
            throw SystemError("chown", path, errno)
        }
    }
}
