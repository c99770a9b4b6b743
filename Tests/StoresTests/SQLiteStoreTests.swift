import Glibc
import NIOPosix
import PolicyProtocol
import SQLite
import System
import Testing

@testable import PolicyKitTesting
@testable import Stores

/// A file in a folder of its own, which goes with it.
private final class StoreFile {
    let folder: TestFolder
    let clock = TestClock()
    var path: String { "\(self.folder.path)/state/gatepost.db" }

    init() throws { self.folder = try TestFolder() }

    func store(_ change: (inout SQLiteStore.Settings) -> Void = { _ in }) -> SQLiteStore {
        var settings = SQLiteStore.Settings(path: self.path)
        // Long: a machine under test may be slow.
        settings.timeout = .seconds(60)
        change(&settings)
        let clock = self.clock
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        return SQLiteStore(settings, on: loop) { clock.nowMilliseconds }
    }

    /// A connection besides the store's.
    func connection() throws -> SQLiteConnection {
        try SQLiteConnection(path: self.path, isMade: true)
    }

    /// The permissions of a file in the folder.
    func mode(_ name: String) -> mode_t {
        var facts = stat()
        return stat("\(self.folder.path)/\(name)", &facts) == 0 ? facts.st_mode & 0o777 : 0
    }
}

@Suite struct SQLiteStoreTests {
    @Test(arguments: StoreCheck.all + StoreCheck.ofOwnClock)
    func `the store in a file is a store`(check: StoreCheck) async throws {
        let file = try StoreFile()
        let clock = file.clock
        try await check.run(on: file.store()) { clock.advance(by: $0) }
    }

    @Test func `entries are there after a restart, and expire meanwhile`() async throws {
        let file = try StoreFile()
        let first = file.store()
        try await first.set("a", to: "1", expiresIn: nil)
        try await first.set("b", to: "1", expiresIn: .seconds(10))
        await first.close()
        await #expect(throws: StoreError.self) { try await first.get("a") }
        file.clock.advance(by: .seconds(11))
        let second = file.store()
        #expect(try await second.get("a") == "1")
        #expect(try await second.get("b") == nil)
    }

    @Test func `a clock that was set back while nothing ran is noticed`() async throws {
        let file = try StoreFile()
        let first = file.store()
        try await first.set("a", to: "1", expiresIn: .seconds(10))
        await first.close()
        file.clock.advance(by: .seconds(-30_000_000))
        let second = file.store()
        #expect(try await second.get("a") == "1")
        file.clock.advance(by: .seconds(11))
        #expect(try await second.get("a") == nil)
    }

    @Test func `file and folder are this user's alone`() async throws {
        let file = try StoreFile()
        let store = file.store()
        try await store.set("a", to: "1", expiresIn: nil)
        #expect(file.mode("state") == 0o700)
        for name in ["gatepost.db", "gatepost.db-wal", "gatepost.db-shm"] {
            #expect(file.mode("state/\(name)") == 0o600)
        }
        #expect(try await store.get("a") == "1")
    }

    @Test func `expired entries are removed with later writes`() async throws {
        let file = try StoreFile()
        let store = file.store()
        for index in 0..<500 {
            try await store.set(Bytes("\(index)"), to: "", expiresIn: .seconds(1))
        }
        try await store.set("stays", to: "", expiresIn: nil)
        await store.close()
        file.clock.advance(by: .seconds(2))
        let second = file.store()
        for _ in 0..<3 { try await second.set("x", to: "", expiresIn: .seconds(100)) }
        let count = try file.connection().integer("SELECT count(*) FROM entries")
        #expect(count == 2)
    }

    @Test func `a full file takes nothing new, and what is there stays`() async throws {
        let file = try StoreFile()
        let store = file.store { $0.maximumOctets = 1_048_576 }
        let value = Bytes(octets: [UInt8](repeating: 1, count: 60_000))
        var failure: (any Error)?
        var count = 0
        while failure == nil, count < 100 {
            do {
                try await store.set(Bytes("\(count)"), to: value, expiresIn: nil)
                count += 1
            } catch {
                failure = error
            }
        }
        #expect((failure as? StoreError)?.code == .full)
        #expect(count > 5 && count < 20)
        await #expect(throws: StoreError.self) {
            try await store.compareAndSet("new", from: nil, to: value, expiresIn: nil)
        }
        #expect(try await store.get("0") == value)
        #expect(try await store.delete("0"))
        try await store.set("new", to: value, expiresIn: nil)
    }

    /// What is in the file before the store opens it, and what is said.
    fileprivate static let foreign: [(sql: String, words: String)] = [
        (
            "PRAGMA user_version = 2",
            "a newer Gatepost made it (version 2 of its tables; this program knows 1)"
        ),
        ("CREATE TABLE mail (id)", "it is the database of another program"),
        ("CREATE TABLE entries (id)", "it is the database of another program"),
        ("PRAGMA user_version = 1", "it is the database of another program"),
        (
            "CREATE TABLE entries (key, expiry); CREATE TABLE x (y); PRAGMA user_version = 3",
            "a newer Gatepost"
        ),
    ]

    @Test(arguments: SQLiteStoreTests.foreign)
    func `the database of another program is left alone`(sql: String, words: String) async throws {
        let file = try StoreFile()
        try file.folder.write("", to: "state/gatepost.db")
        try file.connection().execute(sql)
        let before = try file.connection().text("SELECT group_concat(sql) FROM sqlite_schema")
        let error = await #expect(throws: StoreError.self) { try await file.store().get("a") }
        #expect(error?.code == .unavailable)
        #expect(error?.detail.contains(words) == true, "\(error?.detail ?? "")")
        #expect(error?.detail.hasPrefix(file.path) == true)
        let after = try file.connection().text("SELECT group_concat(sql) FROM sqlite_schema")
        #expect(before == after)
    }

    @Test func `no database, and no folder, is a failure that says so`() async throws {
        let file = try StoreFile()
        try file.folder.write(
            String(repeating: "no database ", count: 1_000),
            to: "state/gatepost.db"
        )
        for _ in 1...2 {
            let error = await #expect(throws: StoreError.self) { try await file.store().open() }
            #expect(error?.detail.contains("file is not a database") == true)
        }
        try file.folder.write("", to: "plain")
        let path = "\(file.folder.path)/plain/x/gatepost.db"
        let store = file.store { $0.path = path }
        let error = await #expect(throws: StoreError.self) { try await store.open() }
        #expect(error?.detail.contains("Not a directory") == true, "\(error?.detail ?? "")")
        let missing = file.store {
            $0.path = "\(file.folder.path)/state/none.db"
            $0.isMade = false
        }
        await #expect(throws: StoreError.self) { try await missing.open() }
    }

    @Test func `a file that is damaged later is a failure, and one that is mended is used again`()
        async throws
    {
        let file = try StoreFile()
        let first = file.store()
        for index in 0..<2_000 {
            try await first.set(Bytes("key \(index)"), to: "value", expiresIn: nil)
        }
        await first.close()
        let good = try Descriptor(reading: file.path).readAll(limit: 10_000_000) ?? []
        var bad = good
        for index in 8_192..<min(bad.count, 100_000) { bad[index] = 0xA5 }
        try file.folder.write(bad, to: "state/gatepost.db")
        let second = file.store()
        let error = await #expect(throws: StoreError.self) {
            for index in 0..<2_000 { _ = try await second.get(Bytes("key \(index)")) }
        }
        #expect(error?.code == .unavailable)
        #expect(error?.detail.contains("malformed") == true, "\(error?.detail ?? "")")
        try file.folder.write(good, to: "state/gatepost.db")
        #expect(try await second.get("key 7") == "value")
    }

    @Test func `a file that was put in its place is used`() async throws {
        let file = try StoreFile()
        let store = file.store()
        try await store.set("a", to: "1", expiresIn: nil)
        for name in ["gatepost.db", "gatepost.db-wal", "gatepost.db-shm"] {
            #expect(unlink("\(file.folder.path)/state/\(name)") == 0)
        }
        // It looks each second.
        let end = ContinuousClock.now + .seconds(60)
        while try await store.get("a") != nil, .now < end { await Task.yield() }
        #expect(try await store.get("a") == nil)
        try await store.set("b", to: "2", expiresIn: nil)
        #expect(try await file.store().get("b") == "2")
    }

    @Test func `a lock that another program holds is a failure in time`() async throws {
        let file = try StoreFile()
        let store = file.store { $0.timeout = .milliseconds(100) }
        try await file.store().set("a", to: "1", expiresIn: nil)
        let other = try file.connection()
        try other.execute("BEGIN IMMEDIATE")
        let error = await #expect(throws: StoreError.self) {
            try await store.set("a", to: "2", expiresIn: nil)
        }
        #expect(error?.code == .unavailable)
        try other.execute("ROLLBACK")
        // Readers wait for no writer, and the next write works.
        let patient = file.store()
        try other.execute("BEGIN IMMEDIATE")
        #expect(try await patient.get("a") == "1")
        try other.execute("ROLLBACK")
        try await patient.set("a", to: "3", expiresIn: nil)
        #expect(try await patient.get("a") == "3")
    }

    @Test func `calls beyond the queue's bound are refused, and those in it end in time`()
        async throws
    {
        let file = try StoreFile()
        let store = file.store { $0.timeout = .milliseconds(400) }
        try await file.store().set("a", to: "1", expiresIn: nil)
        let other = try file.connection()
        try other.execute("BEGIN IMMEDIATE")
        let details = await withTaskGroup(of: String?.self) { group in
            for index in 0..<1_500 {
                group.addTask {
                    do {
                        try await store.set(Bytes("\(index)"), to: "", expiresIn: nil)
                        return nil
                    } catch {
                        return "\(error)"
                    }
                }
            }
            return await group.reduce(into: [String?]()) { $0.append($1) }
        }
        try other.execute("ROLLBACK")
        #expect(details.count == 1_500 && details.allSatisfy { $0 != nil })
        #expect(details.contains { $0?.contains("too many calls wait") == true })
        #expect(details.contains { $0?.contains("no answer within 400 ms") == true })
    }

    @Test func `a cancelled task waits no more`() async throws {
        let file = try StoreFile()
        let store = file.store()
        try await store.set("a", to: "1", expiresIn: nil)
        let other = try file.connection()
        try other.execute("BEGIN IMMEDIATE")
        let task = Task { try await store.set("a", to: "2", expiresIn: nil) }
        task.cancel()
        await #expect(throws: CancellationError.self) { try await task.value }
        try other.execute("ROLLBACK")
    }

    @Test func `several connections to one file count together`() async throws {
        let file = try StoreFile()
        let stores = (0..<4).map { _ in file.store() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for store in stores {
                group.addTask {
                    for _ in 0..<250 { _ = try await store.add(1, to: "a", expiresIn: nil) }
                }
            }
            try await group.waitForAll()
        }
        #expect(try await stores[0].get("a") == "1000")
    }
}

/// The thread of a store.
@Suite struct WorkThreadTests {
    @Test func `work is done in order, and none after the end`() async {
        let thread = WorkThread(limit: 1_000)
        let done = await withCheckedContinuation { (end: CheckedContinuation<[Int], Never>) in
            let list = Collected()
            for number in 0..<100 { #expect(thread.submit { list.append(number) }) }
            #expect(thread.submit { end.resume(returning: list.all) })
        }
        #expect(done == Array(0..<100))
        thread.close()
        #expect(!thread.submit {})
    }
}
