import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

struct QuitFortuneTests {
    private func session(_ book: String) async throws -> TestSession {
        try await TestSession(
            [QuitFortune.self],
            plugins: "quit_fortune file config/fortunes",
            files: ["me": "mx.example.org", "fortunes": book]
        )
    }

    @Test func `a client that said HELO gets a fortune`() async throws {
        let session = try await self.session("%\nBe brief.\n\n\tAlways.\n%\n")
        try await session.helo("client.example.net")
        let text = "mx.example.org closing connection.\n  / Be brief.\n  /  Always."
        #expect(try await session.quit() == .done(221, "2.0.0", text))
    }

    @Test func `one that said EHLO or nothing gets none`() async throws {
        let session = try await self.session("Be brief.")
        #expect(try await session.quit() == .declined)
        try await session.ehlo("client.example.net")
        #expect(try await session.quit() == .declined)
    }

    @Test func `a fortune cannot break the reply`() {
        let lines = QuitFortune.lines(of: Array("a\r\nb\u{0}\u{7f}é\n\n\n".utf8))
        #expect(lines == ["a", "b"])
        let long = Array(String(repeating: "x\n", count: 50).utf8)
        #expect(QuitFortune.lines(of: long).count == 18)
        let wide = Array(String(repeating: "x", count: 1_000).utf8)
        #expect(QuitFortune.lines(of: wide).first?.utf8.count == 400)
    }

    @Test func `a file that cannot be read keeps the worker from starting`() async throws {
        await #expect(throws: PluginProblems.self) {
            try await TestSession([QuitFortune.self], plugins: "quit_fortune file nowhere")
        }
        await #expect(throws: PluginProblems.self) {
            try await TestSession([QuitFortune.self], plugins: "quit_fortune file /tmp")
        }
    }

    @Test func `a program is read to its end`() throws {
        let echo = FortuneProgram(path: "/bin/echo", arguments: ["wise"])
        #expect(try echo.output(within: .seconds(5)) == Array("wise\n".utf8))
    }

    @Test func `a program that takes too long is killed`() {
        let sleep = FortuneProgram(path: "/bin/sleep", arguments: ["60"])
        #expect(throws: PluginError.self) { try sleep.output(within: .milliseconds(50)) }
    }

    @Test func `a program that never stops talking is killed`() {
        let yes = FortuneProgram(path: "/usr/bin/yes", arguments: [])
        #expect(throws: PluginError.self) { try yes.output(within: .seconds(5)) }
    }

    @Test func `a program that fails has said nothing`() {
        let fail = FortuneProgram(path: "/bin/false", arguments: [])
        #expect(throws: PluginError.self) { try fail.output(within: .seconds(5)) }
    }
}
