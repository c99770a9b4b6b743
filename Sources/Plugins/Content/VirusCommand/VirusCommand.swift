import Patterns
package import PolicyKit
import System

/// Runs a virus scanner on each message.
///
/// See README.md.
package struct VirusCommand: DataPostHook {
    package static let name = "virus/command"

    /// How many messages may wait for each program that runs.
    private static let waitingForEach = 16
    /// The most octets that are read of what a program prints.
    private static let outputLimit = 65_536

    private let policy: VirusPolicy
    private let words: [String]
    private let reader: ScannerReader
    private let time: Duration
    private let turns: Turns

    package init(configuration: PluginConfiguration) throws {
        let line = configuration.argument("command", as: .text)
        self.words = (line ?? "").split(separator: " ").map { String($0) }
        self.reader = ScannerReader(
            clean: configuration.argument("clean", as: .exitCodes, default: [0]),
            infected: configuration.argument("infected", as: .exitCodes, default: [1]),
            pattern: configuration.argument("pattern", as: .text).flatMap {
                do throws(PatternError) {
                    return try Pattern($0)
                } catch {
                    configuration.record("\(error)")
                    return nil
                }
            }
        )
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100)...(.seconds(600))),
            default: .seconds(60)
        )
        let atOnce = configuration.argument("at_once", as: .integer(in: 1...64), default: 2)
        self.turns = Turns(atOnce: atOnce, longestLine: atOnce * Self.waitingForEach)
        guard let program = self.words.first, program.hasPrefix("/") else {
            throw PluginError(
                "no program: write command \"/path/of/the/scanner OPTIONS %f\"; %f is the message's file"
            )
        }
        self.policy = VirusPolicy(
            configuration,
            scanner: String(program.split(separator: "/").last ?? "a scanner")
        )
        if !Spawn.canStart(program) {
            configuration.record(
                "\(program) cannot be started: name a program that this user may start"
            )
        }
        if !self.words.contains(where: { $0.contains("%f") }) {
            configuration.record("command must have %f, the path of the message's file")
        }
        let both = self.reader.clean.intersection(self.reader.infected).sorted()
        if !both.isEmpty {
            configuration.record(
                "clean and infected both have \(both.map { "\($0)" }.joined(separator: ","))"
            )
        }
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(.wholeMessage) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        let message = try event.message
        self.policy.removeForged(event)
        if let reason = self.policy.reasonToSkip(event, message) { return event.skip(reason) }
        let words = self.words.map { Self.replacing("%f", in: $0, by: message.path) }
        let deadline = ContinuousClock.now + min(self.time, event.workingTime)
        let outcome = try await self.turns.take {
            await onThreadOfItsOwn { () -> Result<ScannerReader.Run, Spawn.Failure> in
                Result { () throws(Spawn.Failure) in
                    let run = try Spawn.result(
                        of: words,
                        within: deadline - .now,
                        limit: Self.outputLimit
                    )
                    return ScannerReader.Run(output: run.output, ending: run.ending)
                }
            }
        }
        let program = self.words.first ?? ""
        guard let outcome else {
            return self.policy.answer(.failed("too many messages wait for \(program)"), event)
        }
        switch outcome {
        case .success(let run): return self.policy.answer(self.reader.finding(run), event)
        case .failure(.system(let error)): return self.policy.answer(.failed("\(error)"), event)
        case .failure:
            return self.policy.answer(
                .failed("\(program) took too long or said too much"),
                event
            )
        case nil: return self.policy.answer(.failed("no thread for \(program)"), event)
        }
    }

    private static func replacing(_ mark: String, in word: String, by path: String) -> String {
        word.split(separator: mark, omittingEmptySubsequences: false).joined(separator: path)
    }
}

/// Tells what a scanner found by its exit code and its words.
struct ScannerReader: Sendable {
    /// What a program did.
    struct Run: Sendable {
        let output: [UInt8]
        /// Its exit code, or the number of the signal that ended it, below 0.
        let ending: Int32
    }

    let clean: Set<Int32>
    let infected: Set<Int32>
    /// What finds the virus's name in the output; with a clean exit code, it alone tells that there is one.
    let pattern: Pattern?

    func finding(_ run: Run) -> VirusFinding {
        var name: [UInt8]?
        do throws(PatternError) {
            name = try self.pattern?.firstMatch(in: run.output)
        } catch {
            return .failed("\(error)")
        }
        if self.infected.contains(run.ending) { return .infected(named: name ?? []) }
        guard self.clean.contains(run.ending) else {
            return .failed(
                run.ending < 0
                    ? "the scanner was ended by signal \(-run.ending)"
                    : "the scanner ended with status \(run.ending)"
            )
        }
        return name.map { .infected(named: $0) } ?? .clean
    }
}

extension ArgumentType<Set<Int32>> {
    /// `0` or `0,2`: exit codes, or `none`.
    fileprivate static var exitCodes: Self {
        Self("exit codes from 0 to 255 with commas between them, as in 0,2, or none") { word in
            if word == "none" { return [] }
            let codes = word.split(separator: ",", omittingEmptySubsequences: false)
                .map { Int32($0) }
            let valid = codes.compactMap { $0 }.filter { 0...255 ~= $0 }
            return valid.count == codes.count && !valid.isEmpty ? Set(valid) : nil
        }
    }
}
