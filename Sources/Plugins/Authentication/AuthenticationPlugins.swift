import PolicyKit

/// Plugins that decide about logins: whether a client is the user that it names.
enum AuthenticationPlugins {
    static let all: [any Plugin.Type] = [
        AuthCheckpassword.self,
        AuthDeny.self,
        AuthDovecot.self,
        AuthFlatFile.self,
        AuthIMAP.self,
        AuthLDAPBind.self,
    ]
}
