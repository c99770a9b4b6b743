import PolicyKit

extension SMTPLogin {
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
        guard
            let password = PasswordFile.password(
                configuration,
                argument: "auth_password_file",
                file
            )
        else { return nil }
        self.init(
            user: Array(user.utf8),
            password: password,
            isAllowedInClearText: isAllowedInClearText
        )
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
