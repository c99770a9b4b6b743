import PolicyKit

/// Plugins that decide about logins: whether a client is who it says.
enum AuthenticationPlugins {
    static let all: [any Plugin.Type] = [
        AuthCheckpassword.self,
        AuthDeny.self,
        AuthDovecot.self,
        AuthFlatFile.self,
        AuthIMAP.self,
    ]
}
