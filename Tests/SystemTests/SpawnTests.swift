import Glibc
import Synchronization
import System
import Testing

@Suite struct SpawnTests {
    private static func shell(_ script: String, limit: Int = 1_000) throws -> String {
        let words = ["/bin/sh", "-c", script]
        let octets = try Spawn.output(of: words, within: .seconds(30), limit: limit)
        return String(decoding: octets, as: UTF8.self)
    }

    @Test func `a program's output is read to its end`() throws {
        #expect(try Self.shell("echo one; echo two") == "one\ntwo\n")
        #expect(try Self.shell("printf ''") == "")
        #expect(try Self.shell("printf 1234", limit: 4) == "1234")
    }

    @Test func `a program that closes its output and goes on is killed in time`() {
        let begin = ContinuousClock.now
        #expect(throws: Spawn.Failure.killed) {
            _ = try Spawn.output(
                of: ["/bin/sh", "-c", "exec >&-; exec sleep 20"],
                within: .milliseconds(500),
                limit: 10
            )
        }
        #expect(ContinuousClock.now - begin < .seconds(15))
    }

    @Test func `no program gets an end of a pipe`() throws {
        let ends = try Spawn.makePipe()
        for end in [ends.read, ends.write] {
            #expect(fcntl(end, F_GETFD) & FD_CLOEXEC != 0)
            close(end)
        }
    }

    @Test func `a program has no input, and its messages are dropped`() throws {
        #expect(try Self.shell("cat; echo error >&2; echo end") == "end\n")
    }

    @Test func `a program that prints too much or takes too long is killed`() {
        #expect(throws: Spawn.Failure.killed) { try Self.shell("yes", limit: 10) }
        #expect(throws: Spawn.Failure.killed) {
            try Spawn.output(of: ["/bin/sleep", "60"], within: .milliseconds(50), limit: 10)
        }
    }

    @Test func `a program that fails is an error`() {
        #expect(throws: Spawn.Failure.ended(3)) { try Self.shell("echo text; exit 3") }
        #expect(throws: Spawn.Failure.ended(-SIGKILL)) { try Self.shell("kill -KILL $$") }
        #expect(throws: Spawn.Failure.system(SystemError("start", "/no/program", ENOENT))) {
            try Spawn.output(of: ["/no/program"], within: .seconds(30), limit: 10)
        }
        #expect(throws: Spawn.Failure.system(SystemError("start", "no program", EINVAL))) {
            try Spawn.output(of: [], within: .seconds(30), limit: 10)
        }
    }

    @Test func `a program's output and ending are told together`() throws {
        func result(
            _ script: String,
            within time: Duration = .seconds(30)
        ) throws -> (String, Int32) {
            let words = ["/bin/sh", "-c", script]
            let result = try Spawn.result(of: words, within: time, limit: 10)
            return (String(decoding: result.output, as: UTF8.self), result.ending)
        }
        #expect(try result("echo one; exit 3") == ("one\n", 3))
        #expect(try result("cat; ls /proc/self/fd | wc -l") == ("4\n", 0))
        #expect(try result("kill -TERM $$") == ("", -SIGTERM))
        for script in ["sleep 60", "yes", "exec >&-; sleep 60"] {
            #expect(throws: Spawn.Failure.killed) {
                try result(script, within: .milliseconds(script == "yes" ? 30_000 : 200))
            }
        }
        #expect(throws: Spawn.Failure.system(SystemError("start", "/no/program", ENOENT))) {
            try Spawn.result(of: ["/no/program"], within: .seconds(30), limit: 10)
        }
    }

    @Test func `a program that stands apart leads its process group`() throws {
        for isApart in [false, true] {
            let ends = try Spawn.makePipe()
            defer { close(ends.read) }
            let words = [
                "/bin/sh", "-c",
                "read pid name state parent group rest </proc/$$/stat; echo $group",
            ]
            let files: [(number: Int32, file: Spawn.File)] = [
                (0, .nothing), (1, .copy(of: ends.write)),
            ]
            let process = try Spawn.start(words, files: files, isApart: isApart)
            close(ends.write)
            let group = try #require(DescriptorCalls.read(ends.read))
            #expect(Spawn.wait(for: process) == 0)
            let text = String(decoding: group.filter { $0 > 0x20 }, as: UTF8.self)
            #expect(Int32(text) == (isApart ? process : getpgrp()))
        }
    }

    @Test func `only a program can be started`() {
        #expect(Spawn.canStart("/bin/sh"))
        #expect(!Spawn.canStart("/etc/passwd"))
        #expect(!Spawn.canStart("/no/program"))
    }

    @Test func `a process that cannot become another program says why`() {
        #expect(Spawn.become(["/no/program"]) == SystemError("start", "/no/program", ENOENT))
        #expect(Spawn.become([]) == SystemError("start", "no program", EINVAL))
    }
}

@Suite struct BackgroundThreadTests {
    /// What the thread finds.
    private final class Report: Sendable {
        let isDone = Semaphore()
        let isBlocked = Mutex(false)

        func run() {
            let isBlocked = [SIGTERM, SIGHUP, SIGINT].allSatisfy(BackgroundThreadTests.isBlocked)
            self.isBlocked.withLock { $0 = isBlocked }
            self.isDone.post()
        }
    }

    @Test func `a thread runs what it was given, with every signal blocked`() {
        let wasBlocked = Self.isBlocked(SIGTERM)
        let report = Report()
        #expect(BackgroundThread.start(stackOctets: 262_144) { report.run() })
        report.isDone.wait()
        let isBlocked = report.isBlocked.withLock { $0 }
        #expect(isBlocked)
        #expect(Self.isBlocked(SIGTERM) == wasBlocked)
    }

    private static func isBlocked(_ signal: Int32) -> Bool {
        var mask = sigset_t()
        pthread_sigmask(SIG_SETMASK, nil, &mask)
        return sigismember(&mask, signal) == 1
    }
}
