import Certificates
import LDAPClient
import PolicyKit

/// The arguments for a directory, which may stand in the file `ldap` as well: all of them for `auth/auth_ldap_bind`;
/// for a plugin that names the directory itself, those of its base, its TLS and the search's own bind.
struct LDAPSettings: Sendable {
    /// How the connection is encrypted.
    private enum Encryption: String, CaseIterable, Sendable {
        case none, starttls, ldaps
    }

    /// Which part of a user's name is looked up.
    private enum UserPart: String, CaseIterable, Sendable {
        case whole, local
    }

    let address: ServerAddress
    let attribute: String
    /// For each login.
    let time: Duration
    let login: LDAPLogin
    private let part: UserPart

    /// What is wrong is recorded.
    ///
    /// - Parameters:
    ///   - configuration: The plugin's line.
    ///   - place: Where the directory is and whether TLS begins at the first octet; `nil`: as the arguments say.
    /// - Throws: What is wrong with the file or the host, and that there is no `ldap_base`.
    init(
        _ configuration: PluginConfiguration,
        at place: (host: String, isEncrypted: Bool)? = nil
    ) throws {
        let reader = try LDAPArguments(configuration)
        func ownValue<Value>(_ name: String, as type: ArgumentType<Value>) -> Value? {
            place == nil ? reader.value(name, as: type) : nil
        }
        let host = place?.host ?? ownValue("ldap_host", as: .text) ?? "127.0.0.1"
        let isHere = Self.isHere(host)
        let encryption =
            reader.value("ldap_tls", as: .choice)
            ?? (place?.isEncrypted == true ? .ldaps : isHere ? Encryption.none : .starttls)
        let port = ownValue("ldap_port", as: .integer(in: 1...65_535))
        self.time =
            ownValue("ldap_timeout", as: .duration(in: .milliseconds(100)...(.seconds(60))))
            ?? .seconds(5)
        self.attribute = ownValue("ldap_auth_filter_attr", as: .attribute) ?? "uid"
        self.part = ownValue("ldap_user", as: .choice) ?? .whole
        let base = reader.value("ldap_base", as: .text)
        let name = reader.value("ldap_tls_name", as: .hostName)
        let file = reader.value("ldap_tls_ca_file", as: .text).map(configuration.resolve)
        let service = reader.service()
        guard
            let address = ServerAddress(
                host,
                defaultPort: port ?? (encryption == .ldaps ? 636 : 389)
            )
        else {
            throw PluginError(
                "ldap_host is \(host); it must be a host name, an address or the path of a socket"
            )
        }
        self.address = address
        guard let base else {
            throw PluginError(
                "ldap_base is missing: the DN below which users are, as in ou=people,dc=example,dc=com"
            )
        }
        if encryption == .none, !isHere {
            configuration.warn(
                "ldap_tls none sends passwords to \(host) in clear text; write ldap_tls starttls or ldaps"
            )
        }
        self.login = LDAPLogin(
            address: Self.place(address),
            encryption: Self.encryption(encryption, address, name, file, configuration),
            base: base,
            attribute: self.attribute,
            service: service
        )
    }

    /// The value of the attribute that belongs to a user's name.
    func user(_ user: Bytes) -> [UInt8] {
        guard self.part == .local, let at = user.octets.lastIndex(of: UInt8(ascii: "@")) else {
            return user.octets
        }
        return Array(user.octets[..<at])
    }

    /// Whether what goes there leaves this machine on no network.
    private static func isHere(_ host: String) -> Bool {
        guard let address = ServerAddress(host, defaultPort: 389) else { return false }
        return switch address {
        case .unix: true
        case .tcp(let host, _):
            host.lowercased() == "localhost" || host == "::1"
                || (host.hasPrefix("127.") && address.certificateName == nil)
        }
    }

    private static func place(_ address: ServerAddress) -> LDAPLogin.Address {
        switch address {
        case .unix(let path): .unix(path: path)
        case .tcp(let host, let port): .tcp(host: host, port: port)
        }
    }

    private static func encryption(
        _ encryption: Encryption,
        _ address: ServerAddress,
        _ name: String?,
        _ file: String?,
        _ configuration: PluginConfiguration
    ) -> LDAPLogin.Encryption {
        guard encryption != .none else {
            if name != nil || file != nil {
                configuration.warn("ldap_tls_name and ldap_tls_ca_file mean nothing without TLS")
            }
            return .none
        }
        // For localhost libldap takes the name that this machine gives itself.
        guard let name = name ?? address.certificateName, name.lowercased() != "localhost" else {
            configuration.record(
                "ldap_tls needs the name in the server's certificate: write ldap_tls_name HOST, other than localhost"
            )
            return .none
        }
        let authorities = file ?? LDAPTrust.systemAuthorities
        let trust = LDAPTrust(name: name, authorities: authorities)
        do {
            // libldap with GnuTLS takes any file.
            _ = try ClientTLS.certificates(authorities)
            if let problem = trust.problem() { throw PluginError(problem) }
        } catch {
            configuration.record("ldap_tls_ca_file is \(authorities): \(error)")
        }
        return encryption == .starttls ? .startTLS(trust) : .implicit(trust)
    }
}

/// Reads each setting from the plugin's line, and from the file `ldap` if it is not there.
private struct LDAPArguments {
    private static let names: Set<String> = [
        "ldap_base", "ldap_host", "ldap_port", "ldap_timeout", "ldap_auth_filter_attr",
        "ldap_user", "ldap_bind_dn", "ldap_bind_password_file", "ldap_tls", "ldap_tls_name",
        "ldap_tls_ca_file",
    ]

    private let configuration: PluginConfiguration
    private let lines: [String: (value: String, line: ControlLine)]

    init(_ configuration: PluginConfiguration) throws {
        self.configuration = configuration
        let file = try configuration.controlFile("ldap") { (lines: [ControlLine]) in lines }
        var known: [String: (value: String, line: ControlLine)] = [:]
        for line in file.value(startedMilliseconds: .max) {
            let columns = line.columns(2)
            guard let name = columns.first?.lowercased(), Self.names.contains(name) else {
                let allowed = Self.names.sorted().joined(separator: ", ")
                throw line.problem("unknown; allowed: \(allowed)")
            }
            guard columns.count > 1 else { throw line.problem("\(name) has no value") }
            guard known[name] == nil else { throw line.problem("\(name) stands there twice") }
            known[name] = (columns[1], line)
        }
        self.lines = known
    }

    /// - Returns: `nil` if it stands nowhere, or if its value is not of this type (recorded).
    func value<Value>(_ name: String, as type: ArgumentType<Value>) -> Value? {
        if let value = self.configuration.argument(name, as: type) { return value }
        guard let (text, line) = self.lines[name] else { return nil }
        guard let value = type.read(text) else {
            self.configuration.record(
                "\(line.file):\(line.number): \(name) is \(text); it must be \(type.expectation)"
            )
            return nil
        }
        return value
    }

    /// As which entry the search is made, and its password, the first line of a file.
    func service() -> LDAPLogin.Service? {
        let name = self.value("ldap_bind_dn", as: .text)
        let file = self.value("ldap_bind_password_file", as: .text)
        guard let name, let file else {
            if name != nil {
                self.configuration.record("ldap_bind_dn needs ldap_bind_password_file")
            }
            if file != nil {
                self.configuration.record("ldap_bind_password_file needs ldap_bind_dn")
            }
            return nil
        }
        guard
            let password = PasswordFile.password(
                self.configuration,
                argument: "ldap_bind_password_file",
                file
            )
        else { return nil }
        return LDAPLogin.Service(name: name, password: password)
    }
}

extension ArgumentType<String> {
    fileprivate static var attribute: Self {
        Self("the name of an attribute, such as uid or mail") { word in
            LDAPFilter.isAttribute(word) ? word : nil
        }
    }
}
