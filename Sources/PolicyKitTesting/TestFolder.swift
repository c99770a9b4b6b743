import Glibc

/// A folder of its own for a test, removed with everything in it at the end.
final class TestFolder: Sendable {
    /// What the file system said no to.
    struct Failure: Error {
        let path: String
        let code: Int32
    }

    let path: String

    init() throws {
        var template = Array("/tmp/gatepost-test.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(path: "/tmp", code: errno) }
        let octets = template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        self.path = String(decoding: octets, as: UTF8.self)
        for folder in ["config", "out"] where mkdir("\(self.path)/\(folder)", 0o700) != 0 {
            throw Failure(path: self.path, code: errno)
        }
    }

    deinit {
        Self.remove(self.path)
    }

    private static func remove(_ path: String) {
        if let folder = opendir(path) {
            while let entry = readdir(folder) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) { octets in
                    String(decoding: octets.prefix { $0 != 0 }, as: UTF8.self)
                }
                if name != ".", name != ".." {
                    Self.remove("\(path)/\(name)")
                }
            }
            closedir(folder)
        }
        Glibc.remove(path)
    }

    /// Writes a file in one step, as a careful administrator does.
    func write(_ content: String, to name: String) throws {
        try self.write(Array(content.utf8), to: name)
    }

    /// All of a file.
    func read(_ name: String) throws -> [UInt8] {
        let path = "\(self.path)/\(name)"
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Failure(path: path, code: errno) }
        defer { close(descriptor) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            guard count >= 0 else { throw Failure(path: path, code: errno) }
            guard count > 0 else { return content }
            content += chunk[..<count]
        }
    }

    func write(_ content: [UInt8], to name: String) throws {
        let path = "\(self.path)/\(name)"
        let temporary = path + ".new"
        for slash in name.indices where name[slash] == "/" {
            mkdir("\(self.path)/\(name[..<slash])", 0o700)
        }
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Failure(path: temporary, code: errno) }
        let count = Glibc.write(descriptor, content, content.count)
        close(descriptor)
        guard count == content.count, rename(temporary, path) == 0 else {
            throw Failure(path: path, code: errno)
        }
    }
}
