import Glibc

/// A folder of a test's own, removed at its end.
final class ScratchFolder: Sendable {
    struct Failure: Error {
        let path: String
    }

    let path: String

    init() throws {
        var template = Array("/tmp/gatepost-plug.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(path: "/tmp") }
        self.path = String(
            decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
    }

    deinit { Self.removeAll(self.path) }

    /// The names in a folder, sorted; none if it is not there.
    func files(_ name: String) -> [String] { Self.entries("\(self.path)/\(name)").sorted() }

    func read(_ name: String) throws -> [UInt8] {
        guard let file = fopen("\(self.path)/\(name)", "r") else { throw Failure(path: name) }
        defer { fclose(file) }
        var octets: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            guard count > 0 else { return octets }
            octets += buffer[..<count]
        }
    }

    func write(_ octets: [UInt8], _ name: String) throws {
        guard let file = fopen("\(self.path)/\(name)", "w") else { throw Failure(path: name) }
        defer { fclose(file) }
        guard fwrite(octets, 1, octets.count, file) == octets.count else {
            throw Failure(path: name)
        }
    }

    /// Writes a program that can be started when this returns.
    ///
    /// The kernel starts no file that any process may write to. A child that another test starts has a copy
    /// of the descriptor that this one was written by until it becomes its program, so this waits for a
    /// lease, which the kernel gives when no such copy is left (fcntl(2), F_SETLEASE).
    func writeProgram(_ script: String, _ name: String) throws {
        try self.write(Array(script.utf8), name)
        let descriptor = open("\(self.path)/\(name)", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0, fchmod(descriptor, 0o755) == 0 else { throw Failure(path: name) }
        defer { close(descriptor) }
        let setLease: Int32 = 1_024  // F_SETLEASE
        while fcntl(descriptor, setLease, F_RDLCK) != 0 {
            guard errno == EAGAIN else { throw Failure(path: name) }
            sched_yield()
        }
        _ = fcntl(descriptor, setLease, F_UNLCK)
    }

    func mode(_ name: String) throws -> mode_t {
        var status = stat()
        guard stat("\(self.path)/\(name)", &status) == 0 else { throw Failure(path: name) }
        return status.st_mode & 0o7777
    }

    func move(_ name: String, _ other: String) throws {
        guard rename("\(self.path)/\(name)", "\(self.path)/\(other)") == 0 else {
            throw Failure(path: name)
        }
    }

    func remove(_ name: String) throws { Self.removeAll("\(self.path)/\(name)") }

    private static func entries(_ path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { octets in
                String(decoding: octets.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    private static func removeAll(_ path: String) {
        for name in self.entries(path) { self.removeAll("\(path)/\(name)") }
        _ = Glibc.remove(path)
    }
}
