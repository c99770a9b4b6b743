import Configuration
import Glibc
import System

/// `<runtime_directory>/gatepost.pid`: holds the process id of `gatepost run`.
///
/// If `frontend.toml` has an `id`, the file is `gatepost-<id>.pid`.
///
/// The file is locked while the process lives, so a second `gatepost run` of the same id fails
/// before it takes the sockets of the first.
struct ProcessFile {
    private let file: LockFile

    init(directory: String, frontendID: String) throws(LockFile.Failure) {
        do throws(SystemError) {
            try Folders.make(directory, mode: 0o750)
        } catch {
            throw .failed(call: "make the folder", path: error.subject, code: error.code)
        }
        self.file = try LockFile(Self.name(frontendID: frontendID), in: directory, mode: 0o644)
        let text = "\(getpid())\n"
        guard ftruncate(self.file.descriptor, 0) == 0,
            write(self.file.descriptor, text, text.utf8.count) == text.utf8.count
        else {
            let code = errno
            self.file.close()
            throw .failed(call: "write", path: self.file.path, code: code)
        }
    }

    static func name(frontendID: String) -> String {
        frontendID == FrontendConfiguration.defaultID
            ? "gatepost.pid" : "gatepost-\(frontendID).pid"
    }

    /// Removes the file, when everything else has ended.
    func remove() {
        unlink(self.file.path)
        self.file.close()
    }
}
