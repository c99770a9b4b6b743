import NIOCore
package import PolicyKit

/// Asks Dovecot about logins, over the socket that it has for other servers.
///
/// See README.md.
package struct AuthDovecot: AuthHook {
    package static let name = "auth/dovecot"

    private let address: ServerAddress
    private let time: Duration
    private let eventLoop: any EventLoop
    private let client: NIOLoopBoundBox<DovecotClient>

    package init(configuration: PluginConfiguration) throws {
        let address = configuration.positional(
            "socket",
            as: .serverAddress(defaultPort: 12_345),
            default: .unix(path: "/run/dovecot/auth-client")
        )
        self.address = address
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100)...(.seconds(60))),
            default: .seconds(18)
        )
        let eventLoop = configuration.shared.eventLoop
        self.eventLoop = eventLoop
        self.client = .makeBoxSendingValue(
            DovecotClient(to: address, on: eventLoop),
            eventLoop: eventLoop
        )
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(isIdempotent: true) }

    package func auth(_ event: AuthEvent) async throws -> Answer {
        guard case .password(let password) = event.proof else {
            return event.skip("Dovecot is asked about passwords alone")
        }
        let session = event.session
        let request = DovecotRequest(
            user: event.user,
            password: password,
            client: .init(ip: session.client.ip, port: session.client.port),
            server: session.server,
            isEncrypted: session.tls != nil
        )
        let time = max(.zero, min(self.time, event.workingTime))
        let promise = self.eventLoop.makePromise(of: DovecotAnswer.self)
        let client = self.client
        self.onLoop { client.value.ask(request, within: TimeAmount(time), promise) }
        do {
            return self.answer(try await promise.futureResult.get(), event)
        } catch {
            event.error("\(self.address): \(error)")
            return .denysoft
        }
    }

    package func stop() async {
        let client = self.client
        self.onLoop { client.value.stop() }
    }

    private func answer(_ answer: DovecotAnswer, _ event: AuthEvent) -> Answer {
        switch answer {
        case .letIn(let user):
            event.pass("\(user ?? event.user)")
            return .ok

        case .refused:
            event.info("Dovecot refused the login")
            return .deny

        case .putOff:
            event.error("Dovecot cannot tell now: its own log has the reason")
            return .denysoft

        case .outOfStep:
            event.error("Dovecot wants more of a login that is complete")
            return .denysoft
        }
    }

    private func onLoop(_ body: @escaping @Sendable () -> Void) {
        if self.eventLoop.inEventLoop { body() } else { self.eventLoop.execute(body) }
    }
}
