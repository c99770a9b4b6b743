import Glibc

/// The programs that are installed beside this one.
enum Program: String, Sendable {
    case frontend = "gatepost-frontend"
    case worker = "gatepost-worker"

    /// The path of this program's file.
    static var ownPath: String {
        guard let resolved = realpath("/proc/self/exe", nil) else { return "/proc/self/exe" }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    var path: String {
        let own = Self.ownPath
        let slash = own.lastIndex(of: "/") ?? own.startIndex
        return "\(own[..<slash])/\(self.rawValue)"
    }

    /// Whether the program's file exists and may be run.
    var isInstalled: Bool { access(self.path, X_OK) == 0 }
}
