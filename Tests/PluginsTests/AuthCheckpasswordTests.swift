import Glibc
import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

struct AuthCheckpasswordTests {
    /// A program that is a shell script, in a folder of its own.
    private struct Checker {
        let folder: ScratchFolder
        var path: String { "\(self.folder.path)/check" }

        init(_ script: String) throws {
            self.folder = try ScratchFolder()
            try self.folder.writeProgram(
                "#!/bin/sh\ncd '\(self.folder.path)'\n\(script)\n",
                "check"
            )
        }

        func session(_ arguments: String = "") async throws -> TestSession {
            try await TestSession(
                [AuthCheckpassword.self],
                plugins: "auth/auth_checkpassword checkpw \(self.path) \(arguments)"
            )
        }

        func text(_ name: String) throws -> String {
            String(decoding: try self.folder.read(name), as: UTF8.self)
        }
    }

    @Test(arguments: [
        (0, Answer.ok), (1, .deny), (111, .denysoft), (2, .denysoft), (100, .denysoft),
        (255, .denysoft),
    ])
    func `the exit code decides`(code: Int, answer: Answer) async throws {
        let checker = try Checker("exit \(code)")
        defer { withExtendedLifetime(checker) {} }
        let session = try await checker.session()
        #expect(try await session.auth("jo", .password("secret")) == answer)
        #expect(session.relay == (answer == .ok))
    }

    @Test func `a signal is no answer`() async throws {
        let checker = try Checker("kill -TERM $$")
        defer { withExtendedLifetime(checker) {} }
        let session = try await checker.session()
        #expect(try await session.auth("jo", .password("secret")) == .denysoft)
    }

    @Test
    func
        `it reads user, password and a time, and its second argument is the program to go on with`()
        async throws
    {
        let checker = try Checker("cat <&3 >input; echo \"$#\" \"$1\" >words; exit 1")
        let session = try await checker.session("true /bin/echo")
        _ = try await session.auth("jo@example.com", .password("a b"), mechanism: "LOGIN")
        #expect(try checker.text("input") == "jo@example.com\0a b\0Y123456\0")
        #expect(try checker.text("words") == "1 /bin/echo\n")
    }

    @Test func `it has no descriptor that leads anywhere but 3`() async throws {
        let checker = try Checker("for n in /proc/$$/fd/*; do readlink $n; done >seen; exit 1")
        let session = try await checker.session()
        _ = try await session.auth("jo", .password("secret"))
        let seen = try checker.text("seen").split(separator: "\n").map { String($0) }
        #expect(seen.contains { $0.hasPrefix("pipe:") })
        // The shell itself has its script open, and its output file.
        let own = ["/dev/null", "pipe:", checker.path, "\(checker.folder.path)/seen"]
        #expect(seen.filter { entry in !own.contains { entry.hasPrefix($0) } } == [])
    }

    @Test func `one that takes too long is killed with what it started, and nothing of it is left`()
        async throws
    {
        let checker = try Checker("sleep 600 & echo $! >child; echo $$ >self; wait")
        let session = try await checker.session("timeout 300ms")
        #expect(try await session.auth("jo", .password("secret")) == .denysoft)
        for name in ["self", "child"] {
            let process = try #require(try Int32(checker.text(name).dropLast()))
            // The grandchild is init's to reap.
            while kill(process, 0) == 0, try !Self.isZombie(process) { await Task.yield() }
        }
        let process = try #require(try Int32(checker.text("self").dropLast()))
        #expect(kill(process, 0) == -1 && errno == ESRCH)
    }

    private static func isZombie(_ process: Int32) throws -> Bool {
        guard let file = fopen("/proc/\(process)/stat", "r") else { return true }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 512)
        guard fgets(&line, 512, file) != nil else { return true }
        let text = String(
            decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
        return text.contains(") Z ")
    }

    @Test func `what does not fit the interface is not asked`() async throws {
        let checker = try Checker("touch asked; exit 0")
        defer { withExtendedLifetime(checker) {} }
        let session = try await checker.session()
        let long = Bytes(octets: [UInt8](repeating: 0x61, count: 500))
        #expect(try await session.auth("jo@example.com", .password(long)) == .deny)
        #expect(try await session.auth("jo\0root", .password("secret")) == .deny)
        let response = LoginProof.cramMD5(password: "secret", challenge: "<1@mx>")
        #expect(try await session.auth("jo", response) == .declined)
        #expect(checker.folder.files(".") == ["check"])
        let short = Bytes(octets: [UInt8](repeating: 0x61, count: 512 - 12))
        #expect(try await session.auth("j", .password(short)) == .ok)
    }

    @Test func `the file names the program where the line does not`() async throws {
        let checker = try Checker("exit 0")
        defer { withExtendedLifetime(checker) {} }
        let session = try await TestSession(
            [AuthCheckpassword.self],
            plugins: "auth/auth_checkpassword",
            files: ["smtpauth-checkpassword": "\(checker.path) /bin/true"]
        )
        #expect(try await session.auth("jo", .password("secret")) == .ok)
    }

    @Test(arguments: [
        "", "checkpw /nowhere/checkpw", "checkpw /bin/true true /nowhere/true", "timeout 0",
    ])
    func `without a program that can be started the worker does not start`(
        arguments: String
    )
        async throws
    {
        await #expect(throws: PluginProblems.self) {
            try await TestSession(
                [AuthCheckpassword.self],
                plugins: "auth/auth_checkpassword \(arguments)"
            )
        }
    }

    @Test func `authdeny lets nobody in`() async throws {
        let session = try await TestSession([AuthDeny.self], plugins: "auth/authdeny")
        #expect(try await session.auth("jo", .password("secret")) == .declined)
        let response = LoginProof.cramMD5(password: "secret", challenge: "<1@mx>")
        #expect(try await session.auth("jo", response) == .declined)
        #expect(!session.relay && session.failedLogins == 2)
    }
}
