import Glibc
import System

/// The programs that are installed beside this one.
enum Program: String, Sendable {
    case frontend = "gatepost-frontend"
    case worker = "gatepost-worker"

    var path: String {
        let own = Machine.programPath
        let slash = own.lastIndex(of: "/") ?? own.startIndex
        return "\(own[..<slash])/\(self.rawValue)"
    }

    /// Whether the program's file exists and may be run.
    var isInstalled: Bool { access(self.path, X_OK) == 0 }
}
