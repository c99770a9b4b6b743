/// How a directory is asked whether a user's password is right: the user's entry is searched, and a bind as that
/// entry with the password decides.
package struct LDAPLogin: Sendable {
    package enum Address: Sendable {
        case unix(path: String)
        case tcp(host: String, port: Int)
    }

    package enum Encryption: Sendable {
        /// In clear text.
        case none
        /// By StartTLS (RFC 4511 §4.14), always.
        case startTLS(LDAPTrust)
        /// TLS from the first octet, `ldaps`.
        case implicit(LDAPTrust)
    }

    package enum Outcome: Equatable, Sendable {
        case letIn
        /// The user is there, and the directory refused the password.
        case refused
        case noSuchUser
        /// More than one entry has this name.
        case severalUsers
        /// The directory cannot tell now, or is none; the text says why.
        case putOff(String)
    }

    /// The entry as which the search is made.
    package struct Service: Sendable {
        let name: String
        let password: [UInt8]

        /// - Parameters:
        ///   - name: Its DN.
        ///   - password: Not empty: a bind without one is anonymous (RFC 4513 §5.1.2).
        package init(name: String, password: [UInt8]) {
            self.name = name
            self.password = password
        }
    }

    private let address: Address
    private let encryption: Encryption
    private let base: String
    private let attribute: String
    private let service: Service?

    /// - Parameters:
    ///   - address: Where the directory listens.
    ///   - encryption: How the connection is encrypted.
    ///   - base: The DN of the entry below which users are.
    ///   - attribute: Whose value is the user's name, as ``LDAPFilter/isAttribute(_:)`` takes it.
    ///   - service: `nil`: the search is anonymous.
    package init(
        address: Address,
        encryption: Encryption,
        base: String,
        attribute: String,
        service: Service?
    ) {
        self.address = address
        self.encryption = encryption
        self.base = base
        self.attribute = attribute
        self.service = service
    }

    /// Asks the directory over a connection of its own.
    ///
    /// Waits, so never on an event loop. It ends at the `deadline` or when `stop` is called, unless the look-up of the
    /// host's name takes longer; the handshake of TLS ends by `stop` alone.
    ///
    /// - Parameters:
    ///   - user: The value of the attribute, any octets.
    ///   - password: An empty one is refused without a question: a directory may answer success to a bind without a
    ///     password, which proves nothing (RFC 4513 §5.1.2).
    ///   - deadline: When the answer must be there.
    ///   - stop: Called at the deadline.
    /// - Returns: What the directory says.
    package func outcome(
        of user: [UInt8],
        _ password: [UInt8],
        until deadline: ContinuousClock.Instant,
        _ stop: LDAPStop
    ) -> Outcome {
        guard !password.isEmpty else { return .refused }
        do throws(LDAPFailure) {
            let connection = try self.connect(until: deadline, stop)
            let filter = LDAPFilter.equality(self.attribute, user)
            switch try connection.names(below: self.base, filter) {
            case .none: return .noSuchUser
            case .several: return .severalUsers
            case .one(let name):
                // A bind with an empty name is anonymous, and proves nothing.
                guard !name.isEmpty else { throw LDAPFailure("the user's entry has no name") }
                let code = try connection.bind(name, password)
                if code == .success { return .letIn }
                guard code.isRefusal else { throw LDAPFailure("the user's bind", code) }
                return .refused
            }
        } catch {
            return .putOff(stop.isStopped ? "no answer in time" : error.description)
        }
    }

    /// What a search found.
    package enum Search: Equatable, Sendable {
        case found, none
        /// The directory cannot tell now, or is none; the text says why.
        case putOff(String)
    }

    /// Asks over a connection of its own whether any entry matches; no user is bound.
    ///
    /// Waits as ``outcome(of:_:until:_:)`` does.
    ///
    /// - Parameters:
    ///   - filter: In the text form of RFC 4515, values as of ``LDAPFilter/escaped(_:)``.
    ///   - deadline: When the answer must be there.
    ///   - stop: Called at the deadline.
    /// - Returns: What the directory says.
    package func search(
        _ filter: String,
        until deadline: ContinuousClock.Instant,
        _ stop: LDAPStop
    ) -> Search {
        do throws(LDAPFailure) {
            let connection = try self.connect(until: deadline, stop)
            if case .none = try connection.names(below: self.base, filter) { return .none }
            return .found
        } catch {
            return .putOff(stop.isStopped ? "no answer in time" : error.description)
        }
    }

    /// A connection on which the search's own bind was made.
    private func connect(
        until deadline: ContinuousClock.Instant,
        _ stop: LDAPStop
    ) throws(LDAPFailure) -> LDAPConnection {
        let connection = try LDAPConnection(self.address, self.encryption, until: deadline, stop)
        if let service = self.service {
            let code = try connection.bind(service.name, service.password)
            guard code == .success else { throw LDAPFailure("the search's own bind", code) }
        }
        return connection
    }
}
