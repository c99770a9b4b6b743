import Glibc
import Testing

@testable import Frontend

/// protocol §7 and hardening row 47: what a worker leaves in its folder is hostile.
final class ReplacementMessageTests {
    private let folder: String
    private var destination: String { self.folder + "/taken" }

    init() throws {
        var template = Array("/tmp/gatepost-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw SystemError("mkdtemp", "/tmp", errno) }
        self.folder = String(cString: made) + "/out"
        mkdir(self.folder, 0o755)
    }

    deinit {
        for name in ["m", "link", "hard", "fifo", "taken"] { unlink(self.folder + "/" + name) }
        rmdir(self.folder)
        rmdir(String(self.folder.dropLast(4)))
    }

    private func leave(_ text: String) throws {
        let octets = Array(text.utf8)
        let file = try SpoolFileCalls.append(octets, to: -1, path: self.folder + "/m")
        close(file)
    }

    private func take(
        _ path: String,
        owner: uid_t = getuid(),
        limit: Int = 100
    ) throws -> (Int, [UInt8]) {
        try ReplacementMessage.take(
            path,
            folder: self.folder,
            owner: owner,
            limit: limit,
            headerLimit: 8,
            destination: self.destination
        )
    }

    @Test func `a plain file is copied and the original removed`() throws {
        try self.leave("A: 1\r\n\r\nbody\r\n")
        let (size, head) = try self.take(self.folder + "/m")
        #expect(size == 14)
        #expect(head == Array("A: 1\r\n\r\n".utf8))
        #expect(access(self.destination, R_OK) == 0)
        #expect(access(self.folder + "/m", F_OK) != 0)
    }

    @Test(arguments: [" ", "\t"])
    func `white space at the start gets an empty line before it`(space: String) throws {
        try self.leave("\(space)x\r\n")
        let (size, head) = try self.take("m")
        #expect(size == 6)
        #expect(head == Array("\r\n\(space)x\r\n".utf8))
        var facts = stat()
        #expect(stat(self.destination, &facts) == 0)
        #expect(facts.st_size == 6)
    }

    @Test(arguments: ["/etc/passwd", "../m", "a/b", "", ".", "..", "m/../../x"])
    func `a path that leaves the folder is refused`(path: String) throws {
        try self.leave("x\r\n")
        #expect(throws: ReplacementMessage.Refusal.outsideFolder) { try self.take(path) }
    }

    @Test func `links, FIFOs and second names are refused`() throws {
        try self.leave("x\r\n")
        symlink("m", self.folder + "/link")
        mkfifo(self.folder + "/fifo", 0o600)
        #expect(throws: ReplacementMessage.Refusal.cannotOpen(ELOOP)) { try self.take("link") }
        #expect(throws: ReplacementMessage.Refusal.notPlainFile) { try self.take("fifo") }
        link(self.folder + "/m", self.folder + "/hard")
        #expect(throws: ReplacementMessage.Refusal.notPlainFile) { try self.take("m") }
        #expect(access(self.destination, F_OK) != 0)
    }

    @Test func `another owner, a large file and bare newlines are refused`() throws {
        try self.leave("0123456789\r\n")
        #expect(throws: ReplacementMessage.Refusal.wrongOwner) {
            try self.take("m", owner: getuid() + 1)
        }
        #expect(throws: ReplacementMessage.Refusal.tooLarge) { try self.take("m", limit: 11) }
        let size = try self.take("m", limit: 12).0
        #expect(size == 12)
    }

    @Test(arguments: ["a\nb\r\n", "a\rb\r\n", "a\r", "\n", "a\r\r\n"])
    func `a bare CR or LF is refused`(text: String) throws {
        try self.leave(text)
        #expect(throws: ReplacementMessage.Refusal.bareNewline) { try self.take("m") }
        #expect(access(self.destination, F_OK) != 0)
    }
}
