import Glibc
import Synchronization
import System
import Testing

@Suite struct HandoverTests {
    /// Runs a shell script that is given `pieces` on standard input, on a thread of its own.
    private static func run(
        _ script: String,
        _ pieces: [[UInt8]],
        second: [UInt8]? = nil,
        environment: [String: String] = [:],
        input: Duration = .seconds(60),
        whole: Duration = .seconds(60)
    ) async -> Result<Handover.Ending, any Error> {
        await withCheckedContinuation { continuation in
            let hasStarted = BackgroundThread.start(stackOctets: 262_144) {
                let now = ContinuousClock.now
                let handover = Handover(
                    words: ["/bin/sh", "-c", script],
                    environment: environment,
                    inputDeadline: now + input,
                    deadline: now + whole
                )
                var rest = pieces[...]
                var inputs = [Handover.Input(number: 0) { rest.popFirst() }]
                if let second {
                    var last = [second]
                    inputs.append(Handover.Input(number: 1) { last.popLast() })
                }
                continuation.resume(
                    returning: Result<Handover.Ending, any Error> { try handover.run(inputs) }
                )
            }
            #expect(hasStarted)
        }
    }

    private static func text(_ octets: [UInt8]) -> String {
        String(decoding: octets, as: UTF8.self)
    }

    @Test func `a program reads all pieces, and its words and exit code are kept`() async throws {
        let big = [UInt8](repeating: 0x61, count: 1_000_000)
        let ending = try await Self.run(
            "wc -c; echo \"$A\"; echo bad >&2; exit 7",
            [big, [0x62], big],
            environment: ["A": "b c"]
        ).get()
        #expect(ending.code == 7 && ending.hasTakenAll)
        #expect(Self.text(ending.output) == "2000001\nb c\n")
        #expect(Self.text(ending.messages) == "bad\n")
    }

    @Test func `a second input is standard output`() async throws {
        let ending = try await Self.run(
            "cat >&2; cat <&1 >&2",
            [[0x61]],
            second: [0x62]
        ).get()
        #expect(ending.code == 0 && ending.hasTakenAll && ending.output.isEmpty)
        #expect(Self.text(ending.messages) == "ab")
    }

    @Test func `a program that reads nothing is told apart`() async throws {
        let big = [UInt8](repeating: 0x61, count: 1_000_000)
        let ending = try await Self.run("exit 0", [big]).get()
        #expect(ending.code == 0 && !ending.hasTakenAll)
        let closed = try await Self.run("exec <&-; exit 3", [big]).get()
        #expect(closed.code == 3 && !closed.hasTakenAll)
    }

    @Test func `endless words are dropped, and do not keep a program from its deadline`()
        async throws
    {
        let ending = try await Self.run("yes | head -c 1000000; exit 1", [[0x61]]).get()
        #expect(ending.code == 1 && ending.output.count == Handover.maximumOutput)
        let result = await Self.run("yes", [[0x61]], whole: .milliseconds(300))
        #expect(Self.isTooLate(result) == true)
    }

    @Test func `one that does not read is killed before the end of the input`() async throws {
        let big = [UInt8](repeating: 0x61, count: 1_000_000)
        let result = await Self.run("sleep 600", [big], input: .milliseconds(300))
        #expect(Self.isTooLate(result) == false)
        let slow = await Self.run("cat >/dev/null; sleep 600", [[0x61]], whole: .milliseconds(300))
        #expect(Self.isTooLate(slow) == true)
    }

    @Test func `what is killed never sees the end of its input`() async throws {
        var template = Array("/tmp/gatepost-hand.XXXXXX".utf8CString)
        let file = mkstemp(&template)
        defer { close(file) }
        let path = Self.text(template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) })
        defer { unlink(path) }
        // The child reads to the end of the input and then writes; the shell stays in its way.
        let big = [UInt8](repeating: 0x61, count: 100_000)
        let result = await Self.run(
            "head -c 1000 >/dev/null; sleep 600; cat >/dev/null && echo whole >\(path)",
            [big],
            input: .milliseconds(300)
        )
        #expect(Self.isTooLate(result) == false)
        #expect(lseek(file, 0, SEEK_END) == 0)
    }

    @Test func `an input that fails ends the program`() async throws {
        let result: Result<Handover.Ending, any Error> = await withCheckedContinuation {
            continuation in
            let hasStarted = BackgroundThread.start(stackOctets: 262_144) {
                let handover = Handover(
                    words: ["/bin/cat"],
                    inputDeadline: .now + .seconds(60),
                    deadline: .now + .seconds(60)
                )
                let input = Handover.Input(number: 0) { throw SystemError("read", "it", EIO) }
                continuation.resume(
                    returning: Result<Handover.Ending, any Error> { try handover.run([input]) }
                )
            }
            #expect(hasStarted)
        }
        guard case .failure(Handover.Failure.input(let error)) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(error as? SystemError == SystemError("read", "it", EIO))
    }

    @Test func `a child that stays behind keeps nothing waiting`() async throws {
        let ending = try await Self.run("cat >/dev/null; sleep 600 & echo $!; exit 0", [[0x61]])
            .get()
        #expect(ending.code == 0 && ending.hasTakenAll)
        let process = try #require(Int32(Self.text(ending.output.filter { $0 > 0x20 })))
        #expect(kill(process, SIGKILL) == 0)
    }

    /// Whether it had everything when it was killed; `nil`: it was not.
    private static func isTooLate(_ result: Result<Handover.Ending, any Error>) -> Bool? {
        guard case .failure(Handover.Failure.tooLate(let hasTakenAll)) = result else { return nil }
        return hasTakenAll
    }
}
