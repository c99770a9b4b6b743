import Configuration
import Glibc
import System

/// Finds what the frontend needs and this machine does not give: addresses to listen on, folders to
/// write in.
///
/// The check may run as another user than the frontend does, so it only warns.
struct CheckMachine {
    let frontend: FrontendConfiguration

    var warnings: [String] { self.folders + self.listeners }

    // MARK: Folders

    private var folders: [String] {
        let folders = [
            ("runtime_directory", self.frontend.runtimeDirectory),
            ("spool_directory", self.frontend.spoolDirectory),
        ]
        return folders.compactMap { key, folder in
            guard let obstacle = FilePath.obstacle(toFilesIn: folder) else { return nil }
            return "frontend.toml: \(key): this user cannot make files in \(folder), because "
                + "\(obstacle.path) \(obstacle.reason); name another folder, or let the frontend's "
                + "user write there"
        }
    }

    // MARK: Listeners

    private var listeners: [String] {
        self.frontend.listeners.enumerated().compactMap { index, listener in
            guard let problem = self.problem(of: listener.address) else { return nil }
            return "frontend.toml: listener[\(index)].address: \(listener.address) \(problem)"
        }
    }

    /// Why the frontend could not listen on the address now, and what to do; `nil` if it could.
    private func problem(of address: ListenAddress) -> String? {
        if let path = address.path {
            let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
            return FilePath.obstacle(toFilesIn: folder.isEmpty ? "/" : folder).map {
                "cannot be made by this user, because \($0.path) \($0.reason); choose another path"
            }
        }
        // Port 0 is always free.
        guard address.port != 0 else { return nil }
        switch Self.bind(address) {
        case 0: return nil

        case EADDRINUSE:
            // The frontend of this configuration runs, so it is the one that listens there.
            guard !self.isRunning else { return nil }
            return "is in use by another program (`ss -ltnp` names it; systemd, where it listens "
                + "for the frontend, is as it should be); end that, or choose another port"

        case EACCES, EPERM:
            return "is not permitted to this user: ports below 1024 need root, "
                + "CAP_NET_BIND_SERVICE or a socket of systemd; or choose a higher port"

        case EADDRNOTAVAIL:
            return "is no address of this machine; write one that is, or [::] for all"

        case let code:
            return "cannot be had (\(String(cString: strerror(code)))); choose another address"
        }
    }

    /// Binds the address for a moment, without listening, so a frontend that starts now can bind it
    /// too.
    ///
    /// - Returns: 0, or `errno`.
    private static func bind(_ address: ListenAddress) -> CInt {
        do throws(SystemError) {
            close(try TCPSocket.bound(host: "\(address.host)", port: address.port))
            return 0
        } catch {
            return error.code
        }
    }

    /// Whether a frontend with this configuration's id runs.
    ///
    /// Also true if this user may not look at the lock.
    private var isRunning: Bool {
        let path = "\(self.frontend.runtimeDirectory)/\(self.frontend.id).lock"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return errno == EACCES }
        defer { close(descriptor) }
        return flock(descriptor, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK
    }
}
