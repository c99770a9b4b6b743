package import PolicyKit
import System

/// Asks a program that checks passwords, as qmail's checkpassword does.
///
/// See README.md.
package struct AuthCheckpassword: AuthHook {
    package static let name = "auth/auth_checkpassword"

    /// How many logins may wait for each program that runs.
    private static let waitingForEach = 16
    /// The most octets that the interface allows on descriptor 3.
    private static let maximumInput = 512

    private let words: [String]
    private let time: Duration
    private let turns: Turns

    package init(configuration: PluginConfiguration) throws {
        let program = configuration.argument("checkpw", as: .text)
        let success = configuration.argument("true", as: .text, default: "/bin/true")
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100)...(.seconds(60))),
            default: .seconds(5)
        )
        let atOnce = configuration.argument("at_once", as: .integer(in: 1...64), default: 4)
        self.turns = Turns(atOnce: atOnce, longestLine: atOnce * Self.waitingForEach)
        if let program {
            self.words = [program, success].map(configuration.resolve)
        } else {
            let file = try configuration.controlFile("smtpauth-checkpassword") { $0.words }
            let line = file.value(startedMilliseconds: .max).first ?? []
            self.words = line.map(configuration.resolve)
        }
        guard self.words.count == 2 else {
            throw PluginError(
                "no program: write checkpw /path/of/the/program, or its path and that of true in the file "
                    + "smtpauth-checkpassword"
            )
        }
        for path in self.words where !Spawn.canStart(path) {
            configuration.record(
                "\(path) cannot be started: name a program that this user may start"
            )
        }
    }

    package func auth(_ event: AuthEvent) async throws -> Answer {
        guard case .password(let password) = event.proof else {
            return event.skip("the program needs the password itself")
        }
        let input = event.user.octets + [0] + password.octets + Array("\0Y123456\0".utf8)
        guard !event.user.octets.contains(0), !password.octets.contains(0),
            input.count <= Self.maximumInput
        else {
            event.info("name or password is longer than checkpassword takes")
            return .deny
        }
        let (words, time) = (self.words, min(self.time, event.remainingTime))
        let ending = try await self.turns.take {
            await onThreadOfItsOwn { () -> Result<Int32, Spawn.Failure> in
                Result { () throws(Spawn.Failure) in
                    try Spawn.ending(of: words, descriptor3: input, within: time)
                }
            }
        }
        guard let ending else {
            event.error("too many logins at once")
            return .denysoft
        }
        return self.answer(ending, event)
    }

    private func answer(_ ending: Result<Int32, Spawn.Failure>?, _ event: AuthEvent) -> Answer {
        switch ending {
        case .success(0):
            event.pass("\(event.user)")
            return .ok

        case .success(1):
            event.info("wrong user or password")
            return .deny

        case .success(111):
            event.error("\(self.words[0]) cannot tell now")

        case .success(let code) where code < 0:
            event.error("\(self.words[0]) was ended by signal \(-code)")

        case .success(let code):
            event.error(
                "\(self.words[0]) ended with status \(code), which says nothing about the password"
            )

        case .failure(.system(let error)):
            event.error("\(error)")

        case .failure:
            event.error("\(self.words[0]) took longer than \(self.time)")

        case nil:
            event.error("no thread for \(self.words[0])")
        }
        return .denysoft
    }
}
