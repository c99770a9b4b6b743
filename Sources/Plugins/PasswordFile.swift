import Glibc
import PolicyKit
import System

/// A file whose first line is the password with which we log in somewhere.
enum PasswordFile {
    /// The most octets of a password.
    private static let maximumOctets = 1_024

    /// Reads the file that an argument names.
    ///
    /// What is wrong is recorded, never with what the file says; a file that every user can read gets a warning.
    ///
    /// - Returns: `nil` if there is no password.
    static func password(
        _ configuration: PluginConfiguration,
        argument: String,
        _ file: String
    ) -> [UInt8]? {
        let path = configuration.resolve(path: file)
        do throws(PluginError) {
            let password = try Self.firstLine(path)
            if Self.isReadableByAll(path) {
                configuration.warn("\(argument) \(path): every user can read it; chmod o-r it")
            }
            return password
        } catch {
            configuration.record("\(argument) is \(file): \(error)")
            return nil
        }
    }

    /// The first line of the file, without its end.
    private static func firstLine(_ path: String) throws(PluginError) -> [UInt8] {
        let octets: [UInt8]?
        do throws(SystemError) {
            octets = try Descriptor(reading: path).readAll(limit: 65_536)
        } catch {
            throw PluginError(error.reason)
        }
        var line = Array((octets ?? []).prefix { $0 != 0x0A })
        if line.last == 0x0D { line.removeLast() }
        guard (1...Self.maximumOctets).contains(line.count), !line.contains(0) else {
            throw PluginError("its first line must be the password, 1024 octets at most")
        }
        return line
    }

    private static func isReadableByAll(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IROTH != 0
    }
}
