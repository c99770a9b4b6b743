import CLinux
import Glibc

/// What a process leaves behind for others to read.
package enum ProcessSecrecy {
    /// Which permissions the files of this process do not have unless it gives them by itself.
    package enum FileModes {
        /// Only the user can read and write.
        case user
        /// The group can read too: plugins leave files for the frontend.
        case group
    }

    /// Sets the umask; call it before any thread starts.
    package static func keepFiles(to modes: FileModes) {
        switch modes {
        case .user: umask(0o077)
        case .group: umask(0o027)
        }
    }

    /// Lets the kernel write no core file, and no debugger of the same user read this process.
    ///
    /// Its memory holds messages and passwords. Call it after the process has become its user.
    /// `isAllowed` allows both again, as far as the limits of the process do.
    package static func coreDumps(isAllowed: Bool) {
        guard !isAllowed else {
            _ = gatepost_set_dumpable(1)
            return
        }
        // A program that takes core files from the kernel gets them whatever the limit is.
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        _ = gatepost_set_dumpable(0)
    }
}
