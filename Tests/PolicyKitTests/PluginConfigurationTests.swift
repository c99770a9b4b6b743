import PolicyKit
import PolicyKitTesting
import Testing

/// A plugin that reads one of each kind of argument.
private struct Reader: ConnectHook {
    enum Colour: String, CaseIterable {
        case red
        case green
    }

    static let name = "reader"
    static let aliases = ["old_reader"]

    let answer: String

    init(configuration: PluginConfiguration) throws {
        let host = try configuration.requiredPositional("host", as: .text)
        let port = configuration.positional("port", ifFits: .integer(in: 1...65_535)) ?? 25
        let words = configuration.words(["xclient"])
        let colour = configuration.argument("colour", as: ArgumentType<Colour>.choice)
        let wait = configuration.argument(
            "wait",
            as: .duration(in: .zero ... .seconds(60)),
            default: .seconds(1)
        )
        let score = configuration.argument("score", as: .number(in: 0...10), default: 5)
        let zones = configuration.arguments("zone", as: .text)
        let refusal = configuration.refusal()
        let parts: [Any] = [
            configuration.instance, host, port, words.sorted(), colour?.rawValue ?? "-", wait,
            score,
            zones, refusal.mode, refusal.type,
        ]
        self.answer = parts.map { "\($0)" }.joined(separator: " ")
    }

    func connect(_ event: ConnectEvent) async throws -> Answer { .deny(self.answer) }
}

struct PluginConfigurationTests {
    private func answer(_ line: String) async throws -> String? {
        try await TestSession([Reader.self], plugins: line).connect().reply?.text.first
    }

    @Test(arguments: [
        ("reader a", "reader a 25 [] - 1.0 seconds 5.0 [] reject perm"),
        ("reader:3 a 26 xclient", #"reader:3 a 26 ["xclient"] - 1.0 seconds 5.0 [] reject perm"#),
        (
            #"reader a zone "two words" COLOUR Green xclient wait 500ms zone b"#,
            #"reader a 25 ["xclient"] green 0.5 seconds 5.0 ["two words", "b"] reject perm"#
        ),
        ("old_reader a wait 1m reject 0", "reader a 25 [] - 60.0 seconds 5.0 [] tolerate perm"),
        (
            "reader a score 7.5 reject naughty reject_type SOFT loglevel +1",
            "reader a 25 [] - 1.0 seconds 7.5 [] naughty temp"
        ),
    ])
    func `arguments are read`(line: String, expected: String) async throws {
        #expect(try await self.answer(line) == expected)
    }

    @Test(arguments: [
        ("reader", ["<host> is missing: it must be a word"]),
        ("reader a wait", ["argument wait has no value"]),
        (
            "reader a wait 2h",
            ["argument wait is 2h; it must be a time from 0.0 seconds to 60.0 seconds"]
        ),
        ("reader a wait 1 wait 2", ["argument wait is given 2 times; once is allowed"]),
        ("reader a loglevel 9", ["argument loglevel is 9; it must be a number from 0 to 7"]),
        (
            "reader a score nan colour blue x y",
            ["argument colour is blue", "argument score is nan", "unknown argument x; allowed: "]
        ),
        ("nosuch", ["unknown plugin; "]),
        ("redaer a", [#"unknown plugin; did you mean "reader"?"#]),
    ])
    func `every problem of a line is told`(line: String, expected: [String]) async throws {
        let error = await #expect(throws: PluginProblems.self) { try await self.answer(line) }
        let messages = (error?.problems ?? []).map(\.message)
        #expect(messages.count == expected.count)
        for (message, start) in zip(messages, expected) {
            #expect(message.hasPrefix(start))
        }
    }

    @Test func `problems of all lines are told at once`() async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await self.answer("reader\n# comment\nnosuch\nreader:2 a b c d")
        }
        #expect(error?.problems.map(\.line) == [1, 3, 4, 4])
    }
}
