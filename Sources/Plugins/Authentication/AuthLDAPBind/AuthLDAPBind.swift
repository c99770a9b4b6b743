import LDAPClient
import NIOCore
package import PolicyKit

/// Asks an LDAP directory about logins: searches the user's entry, and binds as that entry.
///
/// See README.md.
package struct AuthLDAPBind: AuthHook {
    package static let name = "auth/auth_ldap_bind"

    /// How many logins may wait for each one that is tried.
    private static let waitingForEach = 8

    private let settings: LDAPSettings
    private let turns: Turns
    private let eventLoop: any EventLoop

    package init(configuration: PluginConfiguration) throws {
        self.settings = try LDAPSettings(configuration)
        let atOnce = configuration.argument("at_once", as: .integer(in: 1...64), default: 8)
        self.turns = Turns(atOnce: atOnce, longestLine: atOnce * Self.waitingForEach)
        self.eventLoop = configuration.shared.eventLoop
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(isIdempotent: true) }

    package func auth(_ event: AuthEvent) async throws -> Answer {
        guard case .password(let password) = event.proof else {
            return event.skip("the directory needs the password itself")
        }
        let time = max(.milliseconds(1), event.workingTime)
        switch try await self.answer(self.settings.user(event.user), password.octets, time) {
        case .known(.letIn):
            event.pass("\(event.user)")
            return .ok

        case .known(.refused):
            event.info("\(self.settings.address) refused the password of \(event.user)")
            return .deny

        case .known(.noSuchUser):
            // Nothing is logged of the name: it may be a password in the wrong place.
            return event.skip("no such user")

        case .known(.severalUsers):
            event.error(
                "\(self.settings.address): several entries have the \(self.settings.attribute) of "
                    + "\(event.user); it must be that of one"
            )
            return .denysoft

        case .known(.putOff(let reason)):
            event.error("\(self.settings.address): \(reason)")
            return .denysoft

        case .late:
            event.error("\(self.settings.address): no answer in time")
            return .denysoft

        case .full:
            event.error("too many logins at once")
            return .denysoft

        case .noThread:
            event.error("no thread for a login")
            return .denysoft
        }
    }

    private enum Ending: Sendable {
        case known(LDAPLogin.Outcome)
        case late, full, noThread
    }

    /// Asks the directory.
    ///
    /// When the time is over the client is answered, even if the thread still looks up the server's name; its turn is
    /// taken until then.
    private func answer(
        _ user: [UInt8],
        _ password: [UInt8],
        _ time: Duration
    ) async throws -> Ending {
        let promise = self.eventLoop.makePromise(of: Ending.self)
        let timer = self.eventLoop.scheduleTask(in: TimeAmount(time)) { promise.succeed(.late) }
        let (turns, settings, eventLoop) = (self.turns, self.settings, self.eventLoop)
        let latest = ContinuousClock.now + time
        Task {
            let result = try? await turns.take { () -> Ending in
                let deadline = min(latest, .now + settings.time)
                guard deadline > .now else { return .late }
                let stop = LDAPStop()
                let end = eventLoop.scheduleTask(in: TimeAmount(deadline - .now)) {
                    stop.stop()
                    promise.succeed(.late)
                }
                defer { end.cancel() }
                let outcome = await onThreadOfItsOwn {
                    settings.login.outcome(of: user, password, until: deadline, stop)
                }
                return outcome.map { .known($0) } ?? .noThread
            }
            promise.succeed(result ?? .full)
        }
        defer { timer.cancel() }
        return try await promise.futureResult.get()
    }
}
