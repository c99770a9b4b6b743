internal import CLDAP
internal import System

/// One connection to a directory, by libldap, for the thread that makes it.
///
/// The socket is made here and is non-blocking, so the library waits only where it is told for how long. In the
/// handshake of TLS it has no limit: there the socket blocks, and an ``LDAPStop`` ends it. Nothing of ldap.conf(5)
/// counts: each option that it could set and that matters is set for the connection.
///
/// The one owner of an `LDAP *`.
final class LDAPConnection {
    /// The names that a search found.
    enum Found {
        case none, several
        case one(String)
    }

    /// The most octets of one message of the server.
    private static let maximumMessageOctets: UInt = 262_144
    /// The most references to other directories that a search may bring.
    private static let maximumReferences = 64

    private let handle: OpaquePointer
    private let deadline: ContinuousClock.Instant
    private let stop: LDAPStop

    /// Connects, and encrypts the connection.
    ///
    /// - Throws: Why there is no connection, or why it is not encrypted.
    init(
        _ address: LDAPLogin.Address,
        _ encryption: LDAPLogin.Encryption,
        until deadline: ContinuousClock.Instant,
        _ stop: LDAPStop
    ) throws(LDAPFailure) {
        let (trust, isImplicit): (LDAPTrust?, Bool) =
            switch encryption {
            case .none: (nil, false)
            case .startTLS(let trust): (trust, false)
            case .implicit(let trust): (trust, true)
            }
        let socket = try Self.connect(address, until: deadline)
        var handle: OpaquePointer?
        // The library verifies the name of this URL in the certificate; it does not look it up.
        let url = "ldap://\(trust?.name ?? "localhost")"
        let code = ldap_init_fd(socket, LDAP_PROTO_TCP, url, &handle)
        guard code == LDAP_SUCCESS, let handle else {
            ClientSocket.close(socket)
            throw LDAPFailure("libldap", LDAPCode(number: code))
        }
        self.handle = handle
        self.deadline = deadline
        self.stop = stop
        stop.opened(socket)
        // From here on `deinit` closes the socket.
        try self.prepare(trust)
        guard let trust else { return }
        if !isImplicit { try self.startTLS() }
        try self.encrypt(trust)
    }

    deinit {
        self.stop.closes()
        ldap_unbind_ext(self.handle, nil, nil)
    }

    /// Binds with a name and a password.
    ///
    /// - Returns: What the server said.
    /// - Throws: Why it said nothing.
    func bind(_ name: String, _ password: [UInt8]) throws(LDAPFailure) -> LDAPCode {
        var secret = password.map { CChar(bitPattern: $0) } + [0]
        var message: Int32 = 0
        let sent = secret.withUnsafeMutableBufferPointer { octets in
            var value = berval(bv_len: ber_len_t(password.count), bv_val: octets.baseAddress)
            return gatepost_ldap_bind(self.handle, name, &value, &message)
        }
        guard sent == LDAP_SUCCESS else { throw self.failure("bind", sent) }
        return try self.code(of: try self.answer(message, "bind"), "bind")
    }

    /// Searches the whole tree below `base`, and stops at the second entry.
    ///
    /// - Parameters:
    ///   - base: A DN.
    ///   - filter: As of ``LDAPFilter``.
    /// - Returns: What was found.
    /// - Throws: Why the server cannot tell.
    func names(below base: String, _ filter: String) throws(LDAPFailure) -> Found {
        var message: Int32 = 0
        let sent = gatepost_ldap_search(self.handle, base, filter, self.rest, &message)
        guard sent == LDAP_SUCCESS else { throw self.failure("search", sent) }
        var name: String?
        var references = 0
        while true {
            let answer = try self.answer(message, "search")
            switch ldap_msgtype(answer) {
            case Int32(gatepost_ldap_entry.rawValue):
                defer { ldap_msgfree(answer) }
                guard name == nil else {
                    ldap_abandon_ext(self.handle, message, nil, nil)
                    return .several
                }
                guard let text = ldap_get_dn(self.handle, answer) else {
                    throw LDAPFailure("search: an entry without a name")
                }
                name = String(cString: text)
                ldap_memfree(text)

            case Int32(gatepost_ldap_reference.rawValue):
                ldap_msgfree(answer)
                references += 1
                guard references <= Self.maximumReferences else {
                    throw LDAPFailure("search: more than \(Self.maximumReferences) references")
                }

            case Int32(gatepost_ldap_done.rawValue):
                let code = try self.code(of: answer, "search")
                guard code == .success else { throw LDAPFailure("search", code) }
                return name.map { .one($0) } ?? .none

            default:
                ldap_msgfree(answer)
                throw LDAPFailure("search: an answer to something else")
            }
        }
    }

    // MARK: - TLS

    private func startTLS() throws(LDAPFailure) {
        var message: Int32 = 0
        let sent = ldap_start_tls(self.handle, nil, nil, &message)
        guard sent == LDAP_SUCCESS else { throw self.failure("StartTLS", sent) }
        let code = try self.code(of: try self.answer(message, "StartTLS"), "StartTLS")
        guard code == .success else { throw LDAPFailure("StartTLS", code) }
    }

    /// The handshake.
    private func encrypt(_ trust: LDAPTrust) throws(LDAPFailure) {
        let code = gatepost_ldap_encrypt(self.handle)
        guard code == LDAP_SUCCESS else {
            // The library says little: of a name that is wrong, nothing.
            let advice =
                "the certificate must be valid for \(trust.name), by an authority of \(trust.authorities)"
            throw LDAPFailure("TLS", LDAPCode(number: code), advice)
        }
        try self.bound()
    }

    /// Makes a context of TLS, which reads the authorities.
    static func problem(of trust: LDAPTrust) -> String? {
        var handle: OpaquePointer?
        guard ldap_create(&handle) == LDAP_SUCCESS, let handle else { return "no memory" }
        defer { ldap_unbind_ext(handle, nil, nil) }
        return Self.set(trust, handle)
    }

    /// - Returns: What is wrong; `nil` if nothing is.
    private static func set(_ trust: LDAPTrust, _ handle: OpaquePointer) -> String? {
        for option in [
            LDAP_OPT_X_TLS_CACERTDIR, LDAP_OPT_X_TLS_CERTFILE, LDAP_OPT_X_TLS_KEYFILE,
            LDAP_OPT_X_TLS_CIPHER_SUITE, LDAP_OPT_X_TLS_CRLFILE, LDAP_OPT_X_TLS_PEERKEY_HASH,
        ] {
            // One that this build of the library does not know was not set either.
            ldap_set_option(handle, option, nil)
        }
        var none = LDAP_OPT_X_TLS_CRL_NONE
        ldap_set_option(handle, LDAP_OPT_X_TLS_CRLCHECK, &none)
        let numbers: [(option: Int32, value: Int32)] = [
            (LDAP_OPT_X_TLS_REQUIRE_CERT, LDAP_OPT_X_TLS_DEMAND),
            // The name of the certificate's subject counts only without names of hosts (RFC 6125 §6.4.4).
            (LDAP_OPT_X_TLS_REQUIRE_SAN, LDAP_OPT_X_TLS_TRY),
            (LDAP_OPT_X_TLS_PROTOCOL_MIN, 0x0303),
        ]
        for (option, value) in numbers {
            var value = value
            guard ldap_set_option(handle, option, &value) == LDAP_OPT_SUCCESS else {
                return "libldap does not take TLS option \(option)"
            }
        }
        var isServer: Int32 = 0
        guard
            ldap_set_option(handle, LDAP_OPT_X_TLS_CACERTFILE, trust.authorities)
                == LDAP_OPT_SUCCESS,
            ldap_set_option(handle, LDAP_OPT_X_TLS_NEWCTX, &isServer) == LDAP_OPT_SUCCESS
        else { return "it must be a file that holds certificates in PEM" }
        return nil
    }

    // MARK: - What each operation needs

    private static func connect(
        _ address: LDAPLogin.Address,
        until deadline: ContinuousClock.Instant
    ) throws(LDAPFailure) -> Int32 {
        do throws(ClientSocket.Failure) {
            switch address {
            case .unix(let path): return try ClientSocket.connect(unixSocket: path)
            case .tcp(let host, let port):
                return try ClientSocket.connect(host: host, port: port, until: deadline)
            }
        } catch {
            throw LDAPFailure(error.description)
        }
    }

    private func prepare(_ trust: LDAPTrust?) throws(LDAPFailure) {
        let numbers: [(option: Int32, value: Int32)] = [
            (LDAP_OPT_PROTOCOL_VERSION, LDAP_VERSION3), (LDAP_OPT_DEREF, LDAP_DEREF_NEVER),
        ]
        for (option, value) in numbers {
            var value = value
            guard ldap_set_option(self.handle, option, &value) == LDAP_OPT_SUCCESS else {
                throw LDAPFailure("libldap does not take option \(option)")
            }
        }
        ldap_set_option(self.handle, LDAP_OPT_REFERRALS, nil)
        try self.bound()
        if let trust, let problem = Self.set(trust, self.handle) {
            throw LDAPFailure("\(trust.authorities): \(problem)")
        }
    }

    private func bound() throws(LDAPFailure) {
        guard gatepost_ldap_bound(self.handle, Self.maximumMessageOctets) == 0 else {
            throw LDAPFailure("libldap has no socket")
        }
    }

    /// Waits for the next message that answers `message`; the caller frees it.
    private func answer(
        _ message: Int32,
        _ operation: String
    ) throws(LDAPFailure) -> OpaquePointer {
        var answer: OpaquePointer?
        let type = gatepost_ldap_answer(self.handle, message, self.rest, &answer)
        guard type > 0, let answer else {
            if type == 0 { throw LDAPFailure("\(operation): no answer in time") }
            throw self.failure(operation, nil)
        }
        return answer
    }

    /// The code of an answer, which is freed.
    private func code(
        of answer: OpaquePointer,
        _ operation: String
    ) throws(LDAPFailure) -> LDAPCode {
        var number: Int32 = 0
        let code = ldap_parse_result(self.handle, answer, &number, nil, nil, nil, nil, 1)
        guard code == LDAP_SUCCESS else { throw self.failure(operation, code) }
        return LDAPCode(number: number)
    }

    /// What is left of the time, in milliseconds; never 0, which libldap takes for "at once" or "for ever".
    private var rest: Int {
        Int(max(1, (self.deadline - .now) / .milliseconds(1)))
    }

    /// Why an operation failed, in the library's words; a `number` of `nil`: the library has it.
    private func failure(_ operation: String, _ number: Int32?) -> LDAPFailure {
        var code: Int32 = number ?? 0
        if number == nil { ldap_get_option(self.handle, LDAP_OPT_RESULT_CODE, &code) }
        var text: UnsafeMutablePointer<CChar>?
        ldap_get_option(self.handle, LDAP_OPT_DIAGNOSTIC_MESSAGE, &text)
        defer { ldap_memfree(text) }
        let more = text.map { String(cString: $0) } ?? ""
        return LDAPFailure(operation, LDAPCode(number: code), String(more.prefix(200)))
    }
}

@available(*, unavailable)
extension LDAPConnection: Sendable {}
