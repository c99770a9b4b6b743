import PasswordHashes
package import PolicyKit
import Synchronization

/// Checks logins against a file of users and password hashes.
///
/// See README.md.
package struct AuthFlatFile: AuthHook {
    package static let name = "auth/auth_flat_file"

    /// How many logins may wait for each one that is checked.
    private static let waitingForEach = 32

    let users: ControlFile<FlatPasswords>
    private let turns: Turns

    package init(configuration: PluginConfiguration) throws {
        let atOnce = configuration.argument("at_once", as: .integer(in: 1...64), default: 2)
        self.turns = Turns(atOnce: atOnce, longestLine: atOnce * Self.waitingForEach)
        let told = ToldWarnings(configuration.logger)
        self.users = try configuration.controlFile("flat_auth_pw") { (lines: [ControlLine]) in
            let users = try FlatPasswords(lines)
            told.loaded(users.warnings)
            return users
        }
        told.takeFirst().forEach(configuration.warn)
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(isIdempotent: true) }

    package func auth(_ event: AuthEvent) async throws -> Answer {
        if case .message(let message) = event.proof { return self.step(event, message) }
        guard let user = FlatPasswords.name(event.user) else {
            event.info("SASLprep prohibits the user's name")
            return .declined
        }
        let users = event.value(of: self.users)
        let known = users.entry(of: user)
        guard let entry = known ?? users.standIn(for: user) else {
            return event.skip("flat_auth_pw has no user")
        }
        let matches: Bool
        switch (entry.secret, event.proof) {
        case (.clear(let clear), .response):
            matches = Self.spellings(of: clear).contains { event.proof.matches($0) }

        case (.hash, .response), (.scram, .response), (_, .message):
            return event.skip("CRAM-MD5 needs a password in clear text")

        case (_, .password(let password)):
            let spellings = FlatPasswords.spellings(ofPassword: password)
            if spellings.isEmpty, known != nil {
                event.info("SASLprep prohibits the password that came for \(event.user)")
                return .deny
            }
            do {
                guard let checked = try await self.check(spellings, entry.secret) else {
                    event.error("too many logins at once")
                    return .denysoft
                }
                matches = checked
            } catch is PasswordHash.Failure {
                event.error("\(entry.place): the hash cannot be computed: its cost is out of range")
                return .denysoft
            }
        }
        // Of an unknown user nothing is logged: it may be a password in the wrong place.
        guard known != nil else { return event.skip("no such user") }
        guard matches else {
            event.info("wrong password for \(event.user)")
            return .deny
        }
        event.pass("\(event.user)")
        return .ok
    }

    /// - Returns: Whether a spelling of the password is right; `nil` if too many logins wait.
    /// - Throws: ``PasswordHash/Failure``.
    private func check(_ spellings: [Bytes], _ secret: FlatPasswords.Secret) async throws -> Bool? {
        if case .clear(let clear) = secret {
            // A loop that does not end early: what matches says nothing by the time that it takes.
            let stored = Self.spellings(of: clear)
            return try stored.map { try FlatPasswords.Secret.clear($0).matches(anyOf: spellings) }
                .contains(true)
        }
        return try await self.turns.take {
            try await withBlockingThread { try secret.matches(anyOf: spellings) }
        }
    }

    /// A password of the file; SASLprep may prohibit it, and then it counts as it stands there.
    private static func spellings(of clear: Bytes) -> [Bytes] {
        let spellings = FlatPasswords.spellings(ofPassword: clear)
        return spellings.isEmpty ? [clear] : spellings
    }
}

/// Says what is odd about a file once for each load of it.
private final class ToldWarnings: Sendable {
    private struct State {
        var hasStarted = false
        /// What was found at the start; the same content is parsed once more when it is first needed.
        var first: [String]? = []
    }

    private let logger: Logger
    private let state = Mutex(State())

    init(_ logger: Logger) { self.logger = logger }

    /// What the load at the start found, for `gatepost check` and the log; later loads log by themselves.
    func takeFirst() -> [String] {
        self.state.withLock { state in
            state.hasStarted = true
            return state.first ?? []
        }
    }

    func loaded(_ warnings: [String]) {
        let new = self.state.withLock { state -> [String] in
            guard state.hasStarted else {
                state.first = warnings
                return []
            }
            defer { state.first = nil }
            return state.first == warnings ? [] : warnings
        }
        for warning in new { self.logger.warning("\(warning)") }
    }
}
