import Glibc
import Synchronization
import Testing

@testable import Configuration

/// Time that only moves when told to.
private final class ManualClock: Sendable {
    private let ms = Atomic<Int64>(0)

    /// Starts at the real time, because files carry it.
    init() {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        self.ms.store(Int64(time.tv_sec) * 1_000 + 1_000, ordering: .relaxed)
    }

    var now: Int64 { self.ms.load(ordering: .relaxed) }

    func advance(_ ms: Int64) { self.ms.add(ms, ordering: .relaxed) }
}

@Suite struct ControlFilesTests {
    let folder = TestFolder()
    private let clock = ManualClock()
    private let reported = Reports()
    let files: ControlFiles

    private final class Reports: Sendable {
        let errors = Mutex<[ConfigurationError]>([])
        var count: Int { self.errors.withLock(\.count) }
    }

    init() {
        let clock = self.clock
        let reported = self.reported
        self.files = ControlFiles(
            directories: [self.folder.path, "\(self.folder.base)/fallback"],
            nowMS: { clock.now },
            onError: { error in reported.errors.withLock { $0.append(error) } }
        )
        mkdir("\(self.folder.base)/fallback", 0o755)
    }

    /// What a session that starts now sees.
    func texts(_ name: String) -> [String]? {
        self.clock.advance(100)
        return self.files.snapshot(startedMS: self.clock.now).lines(name)?.map(\.text)
    }

    @Test func `blank lines and comments are skipped, other lines are trimmed`() {
        self.folder.write("f", "\u{feff}# c\n\n  a b \t\r\n\t# d\nx # y\n  \nlast")
        #expect(self.texts("f") == ["a b", "x # y", "last"])
        let lines = self.files.snapshot().lines("f")
        #expect(lines?.map(\.line) == [3, 5, 7])
    }

    @Test func `a file that is not there is nil, an empty one is empty`() {
        self.folder.write("empty", "# nothing\n")
        #expect(self.texts("none") == nil)
        #expect(self.texts("empty") == [])
        #expect(self.files.snapshot().first("none") == nil)
    }

    @Test func `an edit counts for the next session and not for this one`() {
        self.folder.write("f", "old\n")
        self.clock.advance(100)
        let running = self.files.snapshot(startedMS: self.clock.now)
        #expect(running.first("f") == "old")
        self.clock.advance(100)
        // The kernel stamps the file with its own time, which is before the manual clock's.
        self.folder.write("f", "new\n")
        let next = self.files.snapshot(startedMS: self.clock.now)
        #expect(next.first("f") == "new")
        #expect(next.first("f") == "new")
    }

    @Test func `a session keeps the lists of its beginning, in every worker`() async throws {
        let files = ControlFiles(directories: [self.folder.path]) { _ in }
        self.folder.write("f", "old\n")
        #expect(files.snapshot().first("f") == "old")
        try await Task.sleep(for: .milliseconds(30))
        let began = Self.wallClockMS()
        try await Task.sleep(for: .milliseconds(30))
        self.folder.write("f", "new\n")
        try await Task.sleep(for: .milliseconds(30))
        #expect(files.snapshot(startedMS: Self.wallClockMS()).first("f") == "new")
        #expect(files.snapshot(startedMS: began).first("f") == "old")
        #expect(files.snapshot().first("f") == "new")
    }

    private static func wallClockMS() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    @Test func `two edits in one tick of the kernel's clock are both seen`() {
        let files = ControlFiles(directories: [self.folder.path]) { _ in }
        for round in 0..<200 {
            let text = round % 2 == 0 ? "even" : "odd!"
            self.folder.write("f", text)
            #expect(files.snapshot().first("f") == text)
        }
    }

    @Test func `a better folder wins as soon as the file is there`() {
        self.folder.write("../fallback/f", "worse\n")
        #expect(self.texts("f") == ["worse"])
        self.folder.write("f", "better\n")
        #expect(self.texts("f") == ["better"])
        self.folder.delete("f")
        #expect(self.texts("f") == ["worse"])
        self.folder.delete("../fallback/f")
        #expect(self.texts("f") == nil)
    }

    @Test func `includes stand in place, files of a folder in order, twice is fine`() {
        self.folder.write("f", "1\n$include g\n$include dir\n$include g\n9\n")
        self.folder.write("g", "2\n")
        self.folder.write("dir/b", "b\n")
        self.folder.write("dir/a", "a\n$include \(self.folder.path)/g\n")
        self.folder.write("dir/.hidden", "x\n")
        #expect(self.texts("f") == ["1", "2", "a", "2", "b", "2", "9"])
        #expect(self.reported.count == 0)
        self.folder.write("dir/c", "c\n")
        #expect(self.texts("f") == ["1", "2", "a", "2", "b", "c", "2", "9"])
        self.folder.write("g", "3\n")
        #expect(self.texts("f")?.filter { $0 == "3" }.count == 3)
    }

    @Test func `each failure of a file is reported, and once while it stands`() {
        self.folder.write("f", "$include none\n1\n$include nothing\n")
        #expect(self.texts("f") == nil)
        #expect(self.reported.count == 2)
        #expect(self.files.readableLines("f").map(\.text) == ["1"])
        self.folder.write("f", "$include none\n2\n")
        #expect(self.texts("f") == nil)
        #expect(self.reported.count == 2)
    }

    @Test(arguments: [
        "$include f\n", "$include none\n", "$include\n", "$include ../f\n", "\u{0}x\u{0}",
    ])
    func `a broken file keeps its last good content and is reported once`(broken: String) {
        self.folder.write("f", "good\n")
        #expect(self.texts("f") == ["good"])
        if broken.hasPrefix("$") {
            self.folder.write("f", broken)
        } else {
            self.folder.write("f", octets: [0xff, 0xfe, 0x0a])
        }
        #expect(self.texts("f") == ["good"])
        #expect(self.texts("f") == ["good"])
        #expect(self.reported.count == 1)
        #expect(!self.files.problems(in: ["f"]).isEmpty)
        self.folder.write("f", "mended\n")
        #expect(self.texts("f") == ["mended"])
        #expect(self.reported.count == 1)
    }

    @Test func `a file that turns into a folder keeps its last good content`() {
        self.folder.write("f", "good\n")
        #expect(self.texts("f") == ["good"])
        self.folder.delete("f")
        mkdir("\(self.folder.path)/f", 0o755)
        #expect(self.texts("f") == ["good"])
        #expect(self.reported.count == 1)
    }

    @Test func `a folder that is gone keeps the last good content`() {
        self.folder.write("f", "good\n")
        #expect(self.texts("f") == ["good"])
        rename(self.folder.path, "\(self.folder.base)/elsewhere")
        rename("\(self.folder.base)/fallback", "\(self.folder.base)/elsewhere2")
        #expect(self.texts("f") == ["good"])
        #expect(self.reported.count == 1)
        rename("\(self.folder.base)/elsewhere", self.folder.path)
        #expect(self.texts("f") == ["good"])
    }

    @Test func `what a parser made of it is kept while the file cannot be parsed`() {
        let calls = Atomic<Int>(0)
        let sum = ControlValue<Int>("f") { lines throws(ConfigurationErrors) in
            calls.add(1, ordering: .relaxed)
            var sum = 0
            for line in lines {
                guard let number = Int(line.text) else {
                    throw ConfigurationErrors([line.error("no number", remedy: "write one")])
                }
                sum += number
            }
            return sum
        }
        func value() -> Int? {
            self.clock.advance(100)
            return self.files.snapshot(startedMS: self.clock.now).value(sum)
        }
        #expect(value() == nil)
        self.folder.write("f", "1\n2\n")
        #expect(value() == 3)
        #expect(value() == 3)
        #expect(calls.load(ordering: .relaxed) == 1)
        for round in 0..<20 {
            self.folder.write("f", "x\(round)\n")
            #expect(value() == 3)
        }
        #expect(self.reported.count == 20)
        self.folder.write("f", "5\n")
        #expect(value() == 5)
        self.folder.delete("f")
        #expect(value() == nil)
    }

    @Test func `the frontend's numbers are checked`() {
        self.folder.write("databytes", "1000\n")
        self.folder.write("timeout", "soon\n")
        #expect(self.files.snapshot().value(FrontendControls.databytes) == 1_000)
        #expect(self.files.snapshot().value(FrontendControls.timeoutsmtpd) == nil)
        #expect(FrontendControls.problems(in: self.files).map(\.line) == [1])
    }
}
