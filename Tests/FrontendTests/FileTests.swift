import Glibc
import NIOCore
import NIOPosix
import System
import Testing

@testable import Frontend

/// A folder for one test.
private final class Folder {
    let path: String

    init() throws {
        var template = Array("/tmp/gatepost-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw SystemError("mkdtemp", "/tmp", errno) }
        self.path = String(cString: made)
    }

    deinit {
        OutFolder.sweep(self.path, changedBefore: nil)
        rmdir(self.path)
    }

    func isThere(_ name: String) -> Bool { access(self.path + "/" + name, F_OK) == 0 }

    func make(_ name: String, _ text: String = "") {
        let file = open(self.path + "/" + name, O_WRONLY | O_CREAT, 0o600)
        _ = DescriptorCalls.write(Array(text.utf8), to: file)
        close(file)
    }

    func text(_ name: String) -> String? {
        let file = open(self.path + "/" + name, O_RDONLY)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var text: [UInt8] = []
        while let octets = DescriptorCalls.read(file), !octets.isEmpty { text += octets }
        return String(decoding: text, as: UTF8.self)
    }

    func mode(_ name: String) -> mode_t {
        var facts = stat()
        lstat(self.path + "/" + name, &facts)
        return facts.st_mode & 0o777
    }
}

/// The file of a message, on a real loop and real threads.
@Suite struct SpoolFileTests {
    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    /// Runs `body` on the loop with a file, and again what it returns once all is written.
    private func written(
        _ path: String,
        _ body: @escaping @Sendable (SpoolFile) -> Void
    ) async throws -> (size: Int, failure: SystemError?) {
        let loop = self.loop
        return try await loop.flatSubmit {
            let done = loop.makePromise(of: (size: Int, failure: SystemError?).self)
            let file = SpoolFile(path: path, loop: loop, threads: .singleton)
            body(file)
            file.flush {
                done.succeed((file.size, file.failure))
                // The file stays: only its descriptor is closed with the process.
            }
            return done.futureResult
        }
        .get()
    }

    @Test func `octets are written in their order, however they come`() async throws {
        let folder = try Folder()
        let result = try await self.written(folder.path + "/m") { file in
            for index in 0..<200 { file.append(Array("\(index),".utf8)) }
        }
        let text = (0..<200).map { "\($0)," }.joined()
        #expect(folder.text("m") == text && result.size == text.utf8.count)
        #expect(result.failure == nil && folder.mode("m") & 0o137 == 0)
    }

    @Test func `an empty message has a file too`() async throws {
        let folder = try Folder()
        let result = try await self.written(folder.path + "/m") { $0.append([]) }
        #expect(folder.text("m") == "" && result.size == 0)
    }

    @Test func `a file that is there already is not written to`() async throws {
        let folder = try Folder()
        folder.make("m", "other")
        let result = try await self.written(folder.path + "/m") { file in
            file.append([0x61])
            file.append([0x62])
        }
        #expect(result.failure?.code == EEXIST && folder.text("m") == "other")
    }

    @Test func `a link is not followed`() async throws {
        let folder = try Folder()
        symlink(folder.path + "/target", folder.path + "/m")
        let result = try await self.written(folder.path + "/m") { $0.append([0x61]) }
        #expect(result.failure != nil && !folder.isThere("target"))
    }

    @Test func `a file that is discarded is removed, even while it is written`() async throws {
        let folder = try Folder()
        let (loop, path) = (self.loop, folder.path + "/m")
        // One thread does one thing after the other.
        let threads = NIOThreadPool(numberOfThreads: 1)
        threads.start()
        try await loop.submit {
            let file = SpoolFile(path: path, loop: loop, threads: threads)
            file.append([UInt8](repeating: 0x61, count: 100_000))
            #expect(file.isBusy)
            file.discard()
            file.append([0x62])
            #expect(file.waitingOctets == 0)
        }
        .get()
        // The write, its end on the loop, and the removal.
        try await threads.runIfActive {}
        try await loop.submit {}.get()
        try await threads.runIfActive {}
        try await threads.shutdownGracefully()
        #expect(!folder.isThere("m"))
    }
}

/// What workers leave in `out/`, which may be anything.
@Suite struct OutFolderTests {
    @Test func `folders are emptied and removed, and links are not followed`() throws {
        let (folder, other) = (try Folder(), try Folder())
        other.make("kept")
        mkdir(folder.path + "/a", 0o700)
        mkdir(folder.path + "/a/b", 0o700)
        folder.make("a/b/file")
        symlink(other.path, folder.path + "/a/link")
        mkfifo(folder.path + "/fifo", 0o600)
        OutFolder.sweep(folder.path, changedBefore: nil)
        #expect(!folder.isThere("a") && !folder.isThere("fifo"))
        #expect(other.isThere("kept"))
    }

    @Test func `a folder that is a link is not swept`() throws {
        let (folder, other) = (try Folder(), try Folder())
        other.make("kept")
        symlink(other.path, folder.path + "/out")
        OutFolder.sweep(folder.path + "/out", changedBefore: nil)
        #expect(other.isThere("kept"))
    }

    @Test func `folders that are nested too deep stay`() throws {
        let folder = try Folder()
        var path = folder.path
        for _ in 0..<OutFolder.maximumDepth + 2 {
            path += "/d"
            mkdir(path, 0o700)
        }
        OutFolder.sweep(folder.path, changedBefore: nil)
        #expect(folder.isThere("d"))
        // What could be emptied is gone by the second time.
        OutFolder.sweep(folder.path + "/d/d/d", changedBefore: nil)
        OutFolder.sweep(folder.path, changedBefore: nil)
        #expect(!folder.isThere("d"))
    }

    @Test func `the folder of every pool is emptied, and stays`() throws {
        let folder = try Folder()
        for pool in ["one", "two"] {
            mkdir(folder.path + "/" + pool, 0o700)
            folder.make("\(pool)/file")
        }
        OutFolder.sweepAll(folder.path)
        #expect(folder.isThere("one") && folder.isThere("two"))
        #expect(!folder.isThere("one/file") && !folder.isThere("two/file"))
    }
}

/// The evidence of a poisoned question.
@Suite struct PoisonFilesTests {
    private func message(_ folder: Folder, _ text: String) -> Int32 {
        folder.make("m", text)
        return open(folder.path + "/m", O_RDONLY)
    }

    @Test func `event and message are kept for the frontend's user alone`() throws {
        let folder = try Folder()
        let text = String(repeating: "line\r\n", count: 20_000)
        let isKept = PoisonFiles.keep(
            event: Array("{}\n".utf8),
            message: self.message(folder, text),
            base: folder.path + "/f"
        )
        #expect(isKept && folder.text("f.event.json") == "{}\n" && folder.text("f.eml") == text)
        #expect(folder.mode("f.event.json") == 0o600 && folder.mode("f.eml") == 0o600)
        #expect(!folder.isThere("f.unfinished"))
    }

    @Test func `the same question again replaces its files, also what a crash left`() throws {
        let folder = try Folder()
        folder.make("f.unfinished", "half")
        folder.make("f.event.json", "old")
        folder.make("f.eml", "old message")
        let message = self.message(folder, "new")
        #expect(PoisonFiles.keep(event: [0x31], message: message, base: folder.path + "/f"))
        #expect(folder.text("f.event.json") == "1" && folder.text("f.eml") == "new")
    }

    @Test func `without a message there is the event alone, and without a folder nothing`() throws {
        let folder = try Folder()
        #expect(PoisonFiles.keep(event: [0x31], message: -1, base: folder.path + "/f"))
        #expect(folder.isThere("f.event.json") && !folder.isThere("f.eml"))
        #expect(!PoisonFiles.keep(event: [0x31], message: -1, base: folder.path + "/none/f"))
    }
}

/// The place of a pool's socket.
@Suite struct PoolSocketPlaceTests {
    private func place(_ folder: Folder, id: String = "mx") -> PoolSocketPlace {
        PoolSocketPlace(runtimeDirectory: folder.path, pool: "default", frontendID: id, loop: 0)
    }

    /// A socket at the path; it listens as long as it is open.
    private func listen(_ path: String) throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(bound == 0 && Glibc.listen(descriptor, 1) == 0)
        return descriptor
    }

    @Test func `the folder is made, and a stale socket removed`() throws {
        let folder = try Folder()
        let place = self.place(folder)
        try place.prepare()
        #expect(folder.isThere("pools/default"))
        close(try self.listen(place.path))
        #expect(folder.isThere("pools/default/mx.sock"))
        try place.prepare()
        #expect(!folder.isThere("pools/default/mx.sock"))
    }

    @Test func `a socket on which a process answers stays`() throws {
        let folder = try Folder()
        let place = self.place(folder)
        try place.prepare()
        let descriptor = try self.listen(place.path)
        defer { close(descriptor) }
        let error = #expect(throws: SystemError.self) { try place.prepare() }
        #expect(error?.code == EADDRINUSE && folder.isThere("pools/default/mx.sock"))
    }

    @Test func `what is no socket is not removed`() throws {
        let folder = try Folder()
        let place = self.place(folder)
        try place.prepare()
        folder.make("pools/default/mx.sock", "precious")
        let error = #expect(throws: SystemError.self) { try place.prepare() }
        #expect(error?.code == EEXIST && folder.text("pools/default/mx.sock") == "precious")
    }

    @Test func `a path that no socket address holds is an error that says so`() throws {
        let folder = try Folder()
        let id = String(repeating: "x", count: 100)
        let error = #expect(throws: SystemError.self) { try self.place(folder, id: id).prepare() }
        #expect(error?.code == ENAMETOOLONG)
    }

    @Test func `a folder that every user may write to is refused`() throws {
        let folder = try Folder()
        let place = self.place(folder)
        try place.prepare()
        chmod(folder.path + "/pools/default", 0o777)
        #expect(throws: UnsafePlace.self) { try place.prepare() }
    }

    @Test func `an id is held by one frontend at a time`() throws {
        let folder = try Folder()
        var lock: InstanceLock? = try InstanceLock(runtimeDirectory: folder.path, frontendID: "mx")
        let error = #expect(throws: SystemError.self) {
            _ = try InstanceLock(runtimeDirectory: folder.path, frontendID: "mx")
        }
        #expect(error?.code == EWOULDBLOCK && lock != nil)
        _ = try InstanceLock(runtimeDirectory: folder.path, frontendID: "other")
        lock = nil
        _ = try InstanceLock(runtimeDirectory: folder.path, frontendID: "mx")
    }
}
