/// A session as it is at an event.
public struct SessionSnapshot: Sendable, Hashable {
    /// An address and a port.
    public struct Endpoint: Sendable, Hashable {
        /// The address.
        public var ip: String
        /// The port.
        public var port: Int

        /// An address and a port.
        package init(ip: String, port: Int) {
            self.ip = ip
            self.port = port
        }
    }

    /// Who connected.
    public struct Client: Sendable, Hashable {
        /// The address.
        public var ip: String
        /// The port.
        public var port: Int
        /// The name that a plugin gave it; `nil` if none did.
        public var name: Bytes?

        package init(ip: String, port: Int, name: Bytes?) {
            self.ip = ip
            self.port = port
            self.name = name
        }
    }

    /// How the client introduced itself.
    public struct Hello: Sendable, Hashable {
        /// `HELO` or `EHLO`; `LHLO` on a listener of LMTP.
        public var verb: String
        /// The name it gave.
        public var name: Bytes

        package init(verb: String, name: Bytes) {
            self.verb = verb
            self.name = name
        }

        /// Whether the client speaks ESMTP.
        public var isExtended: Bool { self.verb != "HELO" }
    }

    /// The protection of the connection.
    public struct TLS: Sendable, Hashable {
        /// As in `TLSv1.3`.
        public var version: String
        /// The cipher suite's name.
        public var cipher: String?
        /// The name that the client asked for.
        public var sni: String?
        /// The certificate that the client showed; `nil` if it showed none, or was not asked for one
        /// (`client_certificates` of the listener).
        public var clientCertificate: ClientCertificate?

        package init(
            version: String,
            cipher: String?,
            sni: String?,
            clientCertificate: ClientCertificate? = nil
        ) {
            self.version = version
            self.cipher = cipher
            self.sni = sni
            self.clientCertificate = clientCertificate
        }
    }

    /// The certificate of a client, which has its private key.
    public struct ClientCertificate: Sendable, Hashable {
        /// Whether an authority of the listener's `client_ca_file` vouches for it.
        ///
        /// If not, the names below are what the client made up; the fingerprints are true in any case.
        public var isVerified: Bool
        /// The owner's name in the form of RFC 4514, as in `CN=mail.example.org,O=Example`; `nil` if it
        /// cannot be told.
        public var subject: String?
        /// The name of the authority that signed it, in the same form.
        public var issuer: String?
        /// SHA-256 of the certificate: 64 hexadecimal digits in lower case.
        public var fingerprint: String
        /// The same of its public key, which may outlive the certificate; `nil` if it cannot be told.
        public var keyFingerprint: String?

        package init(
            isVerified: Bool,
            subject: String?,
            issuer: String?,
            fingerprint: String,
            keyFingerprint: String?
        ) {
            self.isVerified = isVerified
            self.subject = subject
            self.issuer = issuer
            self.fingerprint = fingerprint
            self.keyFingerprint = keyFingerprint
        }
    }

    /// The login that policy accepted.
    public struct Authentication: Sendable, Hashable {
        /// As in `PLAIN`.
        public var mechanism: String
        /// The user.
        public var user: Bytes

        package init(mechanism: String, user: Bytes) {
            self.mechanism = mechanism
            self.user = user
        }
    }

    /// Where the next message came from, as a trusted client said by XFORWARD.
    ///
    /// `nil`: the client did not say it, or that there is none.
    public struct Forwarded: Sendable, Hashable {
        /// The host name.
        public var name: Bytes?
        /// The IP address.
        public var address: Bytes?
        /// The port.
        public var port: Bytes?
        /// As in `ESMTP`.
        public var proto: Bytes?
        /// What was said there at HELO or EHLO.
        public var hello: Bytes?
        /// How the message is called there.
        public var identity: Bytes?
        /// `LOCAL` or `REMOTE`.
        public var source: Bytes?

        package init() {}
    }

    /// What was counted in this session.
    public struct Counters: Sendable, Hashable {
        /// Commands.
        public var commands = 0
        /// Commands that were answered with an error.
        public var errors = 0
        /// Lines that were no command.
        public var unrecognized = 0
        /// Transactions begun.
        public var transactions = 0
        /// Recipients accepted.
        public var rcptOK = 0
        /// Recipients refused.
        public var rcptDenied = 0
        /// AUTHs that policy refused.
        public var authFailed = 0

        package init() {}
    }

    /// The session's id, unique for ever.
    public var id: String
    /// The listener's name in `frontend.toml`.
    public var listener = ""
    /// When the session began, in Unix milliseconds.
    public var startedMilliseconds: Int64
    /// Who connected.
    public var client: Client
    /// Where it connected to.
    public var server = Endpoint(ip: "", port: 0)
    /// The proxy in between; `nil` if there is none.
    public var proxy: Endpoint?
    /// How the client introduced itself; `nil` if it has not.
    public var hello: Hello?
    /// The protection of the connection; `nil` if there is none.
    public var tls: TLS?
    /// The login that policy accepted; `nil` if there was none.
    public var authentication: Authentication?
    /// Whether the client may send to every recipient.
    public var relay: Bool
    /// Whether the client spoke when it should have listened.
    public var earlyTalker: Bool
    /// What was counted.
    public var counters = Counters()
    /// Where the next message came from; `nil` if no trusted client said it.
    public var forwarded: Forwarded?

    package init(
        id: String,
        startedMilliseconds: Int64,
        client: Client,
        hello: Hello?,
        relay: Bool,
        earlyTalker: Bool
    ) {
        self.id = id
        self.startedMilliseconds = startedMilliseconds
        self.client = client
        self.hello = hello
        self.relay = relay
        self.earlyTalker = earlyTalker
    }

    /// What stands for a session that cannot be read; the event fails then.
    package static let empty = Self(
        id: "",
        startedMilliseconds: 0,
        client: Client(ip: "", port: 0, name: nil),
        hello: nil,
        relay: false,
        earlyTalker: false
    )
}
