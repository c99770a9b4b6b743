/// Which servers are believed to be the directory.
package struct LDAPTrust: Sendable {
    /// The authorities that Debian keeps.
    package static let systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

    let name: String
    let authorities: String

    /// - Parameters:
    ///   - name: The name in the server's certificate; not `localhost`, for which libldap takes this machine's own name.
    ///   - authorities: The path of a file of certificates in PEM.
    package init(name: String, authorities: String = Self.systemAuthorities) {
        self.name = name
        self.authorities = authorities
    }

    /// What is wrong with the file of the authorities; `nil` if nothing is.
    ///
    /// Called before the first connection with TLS: it makes the library ready, which is not safe on two threads.
    package func problem() -> String? { LDAPConnection.problem(of: self) }
}
