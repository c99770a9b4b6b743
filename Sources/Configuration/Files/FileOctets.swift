import Glibc
import System

/// What identifies a file's content without reading it; equal stamps mean unchanged.
package struct FileStamp: Equatable, Sendable {
    let device: UInt64
    let inode: UInt64
    let size: Int64
    let modifiedNS: Int64
    /// When content, name or rights last changed; unlike the time of modification, a user cannot
    /// set it back.
    let changedNS: Int64
    let mode: UInt32

    var changedMS: Int64 { self.changedNS / 1_000_000 }

    private init(_ status: stat) {
        self.device = UInt64(status.st_dev)
        self.inode = UInt64(status.st_ino)
        self.size = Int64(status.st_size)
        self.modifiedNS = Self.nanoseconds(status.st_mtim)
        self.changedNS = Self.nanoseconds(status.st_ctim)
        self.mode = UInt32(status.st_mode)
    }

    private static func nanoseconds(_ time: timespec) -> Int64 {
        Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }

    /// - Returns: `nil` if there is no such file; other problems show when it is opened.
    package init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    fileprivate init?(descriptor: Int32) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return nil }
        self.init(status)
    }

    var isDirectory: Bool { self.mode & S_IFMT == S_IFDIR }
    var isRegular: Bool { self.mode & S_IFMT == S_IFREG }
}

/// Reads files whole, without Foundation.
package enum FileOctets {
    /// A configuration file longer than this is a mistake.
    static let maximumOctets = 64 * 1_048_576

    package struct Failure: Error, Equatable {
        package let code: Int32
        package let reason: String

        init(code: Int32 = errno) {
            self.code = code
            self.reason = String(cString: strerror(code))
        }

        init(code: Int32, reason: String) {
            self.code = code
            self.reason = reason
        }

        var isNoSuchFile: Bool { self.code == ENOENT || self.code == ENOTDIR }
    }

    /// Opens, reads and closes `path`; the stamp belongs to the octets that were read.
    package static func read(_ path: String) throws(Failure) -> (octets: [UInt8], stamp: FileStamp)
    {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { throw Failure() }
        defer { close(descriptor) }
        guard let stamp = FileStamp(descriptor: descriptor) else { throw Failure() }
        guard stamp.isRegular else { throw Failure(code: EINVAL, reason: "is not a plain file") }
        var octets: [UInt8] = []
        while true {
            guard let chunk = DescriptorCalls.read(descriptor) else { throw Failure() }
            guard !chunk.isEmpty else { return (octets, stamp) }
            octets += chunk
            guard octets.count <= Self.maximumOctets else {
                throw Failure(code: EFBIG, reason: "is longer than \(Self.maximumOctets) octets")
            }
        }
    }

    /// The names in a folder that are regular files and do not begin with a dot, sorted by octets.
    package static func regularFiles(in directory: String) throws(Failure) -> [String] {
        let names: [String]
        do throws(SystemError) {
            names = try Folders.names(in: directory)
        } catch {
            throw Failure(code: error.code)
        }
        return names.filter {
            !$0.hasPrefix(".") && FileStamp(path: "\(directory)/\($0)")?.isRegular == true
        }
        .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }
}

/// Paths, as text.
package enum FilePath {
    /// `path` if it is absolute, else `path` in `directory`; `.` and `..` resolved as text.
    static func absolute(_ path: String, in directory: String) -> String {
        let whole = path.hasPrefix("/") ? path : "\(directory)/\(path)"
        var parts: [Substring] = []
        for part in whole.split(separator: "/") where part != "." {
            if part == ".." {
                _ = parts.popLast()
            } else {
                parts.append(part)
            }
        }
        return "/" + parts.joined(separator: "/")
    }

    /// `text` with every path below the working directory made relative to it, to print it.
    package static func relativized(_ text: String) -> String {
        let here = Self.workingDirectory
        return here == "/" ? text : text.replacing("\(here)/", with: "")
    }

    /// The folder in which the program was started.
    static var workingDirectory: String {
        guard let path = getcwd(nil, 0) else { return "/" }
        defer { free(path) }
        return String(cString: path)
    }

    /// Why this process could make no files in `folder`, after making it and the missing folders
    /// above it.
    ///
    /// - Parameter folder: An absolute path.
    /// - Returns: The path of the folder or file that prevents it, and the reason, for example
    ///   `is no folder`; `nil` if nothing prevents it.
    package static func obstacle(toFilesIn folder: String) -> (path: String, reason: String)? {
        var path = folder
        while path != "/", !Self.isAllowed(path, F_OK), errno == ENOENT || errno == ENOTDIR {
            path = Self.parent(of: path)
        }
        if let stamp = FileStamp(path: path), !stamp.isDirectory { return (path, "is no folder") }
        guard !Self.isAllowed(path, W_OK | X_OK) else { return nil }
        return (path, "cannot be written: \(String(cString: strerror(errno)))")
    }

    /// Why this process cannot do to a file or folder that is there what `mode` says.
    ///
    /// - Parameters:
    ///   - path: An absolute path.
    ///   - mode: As of access(2): R_OK, W_OK.
    /// - Returns: The path that prevents it, which may be of a folder above, and the reason; `nil` if
    ///   nothing prevents it, or if there is no such file.
    package static func obstacle(to path: String, _ mode: Int32) -> (path: String, reason: String)?
    {
        guard !Self.isAllowed(path, mode) else { return nil }
        let code = errno
        guard code != ENOENT, code != ENOTDIR else { return nil }
        var closed = path
        var folder = Self.parent(of: path)
        while !Self.isAllowed(folder, X_OK) {
            closed = folder
            guard folder != "/" else { break }
            folder = Self.parent(of: folder)
        }
        return (closed, closed == path ? String(cString: strerror(code)) : "may not be entered")
    }

    /// Whether this process may do what `mode` says, by the rights that it has now.
    private static func isAllowed(_ path: String, _ mode: Int32) -> Bool {
        faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0
    }

    /// The folder of a file.
    package static func parent(of path: String) -> String {
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
