import Glibc

@testable import Configuration

/// A configuration folder of its own, removed with the value.
final class TestFolder {
    let base: String
    /// `<base>/config`.
    let path: String

    init() {
        var template = Array("/tmp/gatepost-conf-XXXXXX".utf8CString)
        let made = mkdtemp(&template).map { String(cString: $0) } ?? "/nonexistent"
        self.base = realpath(made, nil).map { String(cString: $0) } ?? made
        self.path = "\(self.base)/config"
        mkdir(self.path, 0o755)
    }

    deinit {
        Self.remove(self.base)
    }

    private static func remove(_ path: String) {
        if let stream = opendir(path) {
            while let entry = readdir(stream) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if name != ".", name != ".." { Self.remove("\(path)/\(name)") }
            }
            closedir(stream)
        }
        Glibc.remove(path)
    }

    /// Writes `config/<name>`; folders in the name are made.
    func write(_ name: String, _ content: String) {
        self.write(name, octets: Array(content.utf8))
    }

    func write(_ name: String, octets: [UInt8]) {
        let path = "\(self.path)/\(name)"
        for slash in name.indices where name[slash] == "/" {
            mkdir("\(self.path)/\(name[..<slash])", 0o755)
        }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        _ = octets.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        close(descriptor)
    }

    func delete(_ name: String) {
        unlink("\(self.path)/\(name)")
    }
}

/// What a call threw, as text without the folder's random name; empty if it threw nothing.
func problems<Value>(
    in folder: TestFolder,
    _ body: () throws(ConfigurationErrors) -> Value
) -> [String] {
    do throws(ConfigurationErrors) {
        _ = try body()
        return []
    } catch {
        return error.errors.map { error in
            error.description.split(separator: "\(folder.base)/", omittingEmptySubsequences: false)
                .joined()
        }
    }
}

extension TestFolder {
    /// The configuration that this `frontend.toml` makes.
    func frontend(_ toml: String) throws -> FrontendConfiguration {
        self.write("frontend.toml", toml)
        return try FrontendConfiguration.load(directory: self.path)
    }

    /// What is wrong in this `frontend.toml`.
    func frontendProblems(_ toml: String) -> [String] {
        self.write("frontend.toml", toml)
        return problems(in: self) { () throws(ConfigurationErrors) in
            try FrontendConfiguration.load(directory: self.path)
        }
    }
}
