import Configuration
import Glibc
import System

/// Removes files that workers left in their pool's `out/` folder and that no verdict can name any
/// more.
///
/// The files are hostile: a worker may change them meanwhile, and may put a link in place of a
/// folder. So files are removed relative to open folders and without following links; a file that
/// cannot be removed stays.
enum OutFolder {
    /// How many levels of folders below the folder are emptied.
    static let maximumDepth = 16
    /// How long an answer may be on its way from a worker to ``ReplacementMessage``.
    static let marginSeconds = 10

    /// Removes the files that last changed before `second`, in Unix time; `nil` removes all.
    ///
    /// It uses the time of the last change (`st_ctim`), because a worker cannot set that back.
    static func sweep(_ folder: String, changedBefore second: Int?) {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return }
        self.empty(descriptor, changedBefore: second ?? .max, depth: 0)
    }

    /// Empties the folders of all pools in `folder`; called before workers can connect.
    static func sweepAll(_ folder: String) {
        for pool in (try? Folders.names(in: folder)) ?? [] {
            self.sweep(folder + "/" + pool, changedBefore: nil)
        }
    }

    /// Empties the open folder `folder` and closes it.
    private static func empty(_ folder: Int32, changedBefore second: Int, depth: Int) {
        guard let stream = fdopendir(folder) else {
            close(folder)
            return
        }
        defer { closedir(stream) }
        while let entry = readdir(stream) {
            withUnsafePointer(to: &entry.pointee.d_name) { name in
                name.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) {
                    self.remove($0, in: folder, changedBefore: second, depth: depth)
                }
            }
        }
    }

    private static func remove(
        _ name: UnsafePointer<CChar>,
        in folder: Int32,
        changedBefore second: Int,
        depth: Int
    ) {
        guard strcmp(name, ".") != 0, strcmp(name, "..") != 0 else { return }
        var facts = stat()
        guard fstatat(folder, name, &facts, AT_SYMLINK_NOFOLLOW) == 0,
            facts.st_ctim.tv_sec < second
        else { return }
        guard facts.st_mode & S_IFMT == S_IFDIR else {
            unlinkat(folder, name, 0)
            return
        }
        if depth < self.maximumDepth {
            let below = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
            if below >= 0 { self.empty(below, changedBefore: second, depth: depth + 1) }
        }
        unlinkat(folder, name, AT_REMOVEDIR)
    }
}
