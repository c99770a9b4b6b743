import Certificates
import NIOCore
import NIOSSL
package import PolicyKit

/// Asks an IMAP server about logins, by logging in there.
///
/// See README.md.
package struct AuthIMAP: AuthHook {
    package static let name = "auth/auth_imap"

    /// How the connection is encrypted.
    enum Encryption: String, CaseIterable, Sendable {
        /// TLS from the first octet, port 993.
        case implicit
        /// STARTTLS, port 143.
        case starttls
        /// In clear text, port 143.
        case none
    }

    /// How many logins may wait for each one that is tried.
    private static let waitingForEach = 8

    private let address: ServerAddress
    private let encryption: Encryption
    private let serverName: String?
    private let tls: NIOSSLContext?
    private let time: Duration
    private let turns: Turns
    private let eventLoop: any EventLoop

    package init(configuration: PluginConfiguration) throws {
        let host = configuration.argument("host", as: .text, default: "localhost")
        let encryption = configuration.argument("tls", as: .choice, default: Encryption.implicit)
        let port = configuration.argument(
            "port",
            as: .integer(in: 1...65_535),
            default: encryption == .implicit ? 993 : 143
        )
        let name = configuration.argument("tls_name", as: .text)
        let file = configuration.argument("tls_ca_file", as: .text).map(configuration.resolve)
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100)...(.seconds(60))),
            default: .seconds(15)
        )
        let atOnce = configuration.argument("at_once", as: .integer(in: 1...64), default: 8)
        self.turns = Turns(atOnce: atOnce, longestLine: atOnce * Self.waitingForEach)
        self.encryption = encryption
        self.eventLoop = configuration.shared.eventLoop
        guard let address = ServerAddress(host, defaultPort: port) else {
            throw PluginError(
                "host is \(host); it must be a host name, an address or the path of a socket"
            )
        }
        self.address = address
        // A certificate names hosts; for an address tls_name has to say which.
        self.serverName = name ?? address.certificateName
        guard encryption != .none else {
            self.tls = nil
            return
        }
        if self.serverName == nil {
            configuration.record(
                "tls needs the name in the server's certificate: write tls_name HOST"
            )
        }
        do {
            self.tls = try ClientTLS.context(isVerifying: true, authorities: file)
        } catch {
            throw PluginError("tls_ca_file is \(file ?? ""): \(error)")
        }
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(isIdempotent: true) }

    package func auth(_ event: AuthEvent) async throws -> Answer {
        guard case .password(let password) = event.proof else {
            return event.skip("the server needs the password itself")
        }
        let answer = try await self.turns.take {
            try await self.answer(event.user, password, within: event.workingTime)
        }
        switch answer {
        case .letIn:
            event.pass("\(event.user)")
            return .ok

        case .refused:
            event.info("\(self.address) refused the login")
            return .deny

        case .putOff(let reason):
            event.error("\(self.address): \(reason)")
            return .denysoft

        case nil:
            event.error("too many logins at once")
            return .denysoft
        }
    }

    private func answer(
        _ user: Bytes,
        _ password: Bytes,
        within time: Duration
    ) async throws -> IMAPLogin.Answer {
        let login = IMAPLogin(
            user: user,
            password: password,
            usesStartTLS: self.encryption == .starttls
        )
        let promise = self.eventLoop.makePromise(of: IMAPLogin.Answer.self)
        let (tls, name, address, eventLoop) = (
            self.tls, self.serverName, self.address, self.eventLoop
        )
        let isWrapped = self.encryption == .implicit
        let limit = TimeAmount(max(.milliseconds(1), min(self.time, time)))
        eventLoop.execute {
            let connection = IMAPConnection(login, promise) {
                guard let tls else { throw PluginError("no TLS here") }
                return try NIOSSLClientHandler(context: tls, serverHostname: name)
            }
            connection.start(address, isWrapped: isWrapped, on: eventLoop, within: limit)
        }
        return try await promise.futureResult.get()
    }
}
