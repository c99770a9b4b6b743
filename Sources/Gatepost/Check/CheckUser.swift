import Certificates
import Configuration
import Glibc
import System

/// Finds what the `user` of a configuration may not read or write, when root checks it: the programs start as
/// root, and are that user before they read the files again.
///
/// The kernel is asked, with the user's ids and groups.
struct CheckUser {
    let user: ProcessUser
    /// Files that are there or not; the first reason of each counts.
    private var read: [String] = []
    private var write: [String] = []

    /// What the users of frontend and worker may not do; nothing unless this process is root.
    static func problems(_ report: ConfigurationReport) -> [String] {
        guard ProcessUser.isRoot else { return [] }
        let checks = [Self(report.frontend), Self(report.worker, report.frontend)]
        var named: Set<Obstacle> = []
        return checks.flatMap { check in
            check?.problems.filter { $0.obstacle.map { named.insert($0).inserted } ?? true }
                .map(\.line) ?? []
        }
    }

    /// What the frontend reads, and where it writes.
    private init?(_ frontend: FrontendConfiguration) {
        guard let user = frontend.user else { return nil }
        self.user = user
        self.read = ["\(frontend.directory)/frontend.toml"]
        for folder in frontend.controlDirectories {
            self.read += FrontendControls.names.map { "\(folder)/\($0)" }
        }
        self.read += frontend.tlsFiles
        // What is missing is made for the user.
        self.write = [
            frontend.runtimeDirectory, frontend.spoolDirectory,
            "\(frontend.runtimeDirectory)/\(frontend.id).lock",
            "\(frontend.spoolDirectory)/\(frontend.id)",
        ]
    }

    /// What the worker reads: plugins read control files of any name.
    private init?(_ worker: WorkerConfiguration, _ frontend: FrontendConfiguration) {
        guard let user = worker.user else { return nil }
        self.user = user
        self.read = ["worker.toml", "frontend.toml"].map { "\(worker.directory)/\($0)" }
        if let file = worker.dns.trustAnchorFile { self.read.append(file) }
        // Of these the frontend alone needs what it has the keys for.
        let secrets = Set(frontend.tls.certificates.flatMap { [$0.chain, $0.key] })
        for folder in worker.controlDirectories {
            let names = (try? FileOctets.regularFiles(in: folder)) ?? []
            self.read += names.map { "\(folder)/\($0)" }.filter { !secrets.contains($0) }
        }
    }

    /// What prevents a user's doing something: each is said once, whatever it hides.
    private struct Obstacle: Hashable {
        let path: String
        let userID: UInt32
        let verb: String
    }

    private var problems: [(obstacle: Obstacle?, line: String)] {
        do throws(SystemError) {
            return try self.user.acting {
                self.obstacles(self.read, "read", R_OK) + self.obstacles(self.write, "write", W_OK)
            }
        } catch {
            return [(nil, "\(error)")]
        }
    }

    private func obstacles(
        _ paths: [String],
        _ verb: String,
        _ mode: Int32
    ) -> [(obstacle: Obstacle?, line: String)] {
        paths.compactMap { path in
            guard let obstacle = FilePath.obstacle(to: path, mode) else { return nil }
            let reason =
                obstacle.path == path
                ? obstacle.reason : "\(obstacle.path) \(obstacle.reason)"
            let line =
                "\(path): user \"\(self.user.name)\" cannot \(verb) it: \(reason); let the user, or "
                + "its group"
            let id = Obstacle(path: obstacle.path, userID: self.user.userID, verb: verb)
            return (id, line)
        }
    }
}
