import Glibc
import PolicyKit
import System

extension SMTPLogin {
    /// The most octets of a user's name and of a password.
    private static let maximumOctets = 1_024

    /// Reads `auth_user`, `auth_password_file` and `auth_without_tls`, and the file.
    ///
    /// What is wrong is recorded, never with what the file says.
    ///
    /// - Returns: `nil` if there is no `auth_user`, or if something is wrong.
    init?(_ configuration: PluginConfiguration, _ level: NextHopTLS.Level) {
        let user = configuration.argument("auth_user", as: .user)
        let file = configuration.argument("auth_password_file", as: .text)
        let isAllowedInClearText = configuration.argument(
            "auth_without_tls",
            as: .flag,
            default: false
        )
        guard let user, let file else {
            if user != nil { configuration.record("auth_user needs auth_password_file") }
            if file != nil { configuration.record("auth_password_file needs auth_user") }
            return nil
        }
        if level == .none, !isAllowedInClearText {
            configuration.record("auth_user needs TLS: tls verify, or auth_without_tls yes")
        } else if level != .verify, level != .daneOnly {
            configuration.warn(
                "any server that answers at this address gets the password of auth_user; "
                    + "tls verify keeps it from the wrong one"
            )
        }
        do {
            let path = configuration.resolve(path: file)
            self.init(
                user: Array(user.utf8),
                password: try Self.password(path),
                isAllowedInClearText: isAllowedInClearText
            )
            if Self.isReadableByAll(path) {
                configuration.warn(
                    "auth_password_file \(path): every user can read it; chmod o-r it"
                )
            }
        } catch {
            configuration.record("auth_password_file is \(file): \(error)")
            return nil
        }
    }

    /// The first line of the file, without its end.
    private static func password(_ path: String) throws -> [UInt8] {
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

extension ArgumentType<String> {
    /// A name to log in with.
    fileprivate static var user: Self {
        Self("a name of 1 to 1024 octets") { word in
            (1...1_024).contains(word.utf8.count) && !word.utf8.contains(0) ? word : nil
        }
    }
}
