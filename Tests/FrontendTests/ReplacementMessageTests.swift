import Glibc
import PolicyCore
import System
import Testing

@testable import Frontend

/// The frontend does not trust the file that a worker leaves for `message.replace`
/// (protocol/verdicts.md, "Actions").
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
        limit: Int = 100,
        headerLimits: (octets: Int, fields: Int) = (40, 3)
    ) throws -> ReplacedMessage {
        try ReplacementMessage.take(
            path,
            folder: self.folder,
            owner: owner,
            limit: limit,
            headerLimits: headerLimits,
            destination: self.destination
        )
    }

    @Test func `a plain file is copied and the original removed`() throws {
        try self.leave("A: 1\r\n\r\nbody\r\n")
        let taken = try self.take(self.folder + "/m")
        #expect(taken == .init(size: 14, header: Array("A: 1\r\n".utf8)))
        #expect(access(self.destination, R_OK) == 0)
        #expect(access(self.folder + "/m", F_OK) != 0)
    }

    /// Files, and the header and body that are made of them.
    @Test(arguments: [
        (" x\r\n", "", "\r\n x\r\n"),
        ("\tx\r\n", "", "\r\n\tx\r\n"),
        ("A: 1\r\nno field\r\n", "A: 1\r\n", "\r\nno field\r\n"),
        ("From x\r\nA: 1\r\n\r\nb", "X-Mailbox-Line: From x\r\nA: 1\r\n", "\r\nb"),
        ("A: 1\r\nB: 2", "A: 1\r\nB: 2", ""),
        ("A: 1\r\nB", "A: 1\r\n", "\r\nB"),
        ("", "", ""),
    ])
    func `the border of a file is mended as that of a message`(
        file: String,
        header: String,
        body: String
    ) throws {
        try self.leave(file)
        let taken = try self.take("m")
        #expect(taken.header == Array(header.utf8))
        #expect(taken.size == (header + body).utf8.count)
        #expect(try self.copied() == Array((header + body).utf8))
    }

    @Test func `a header over the limits is refused and never cut`() throws {
        let refused = ReplacementMessage.Refusal.headerTooLarge
        for text in [
            "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n", "A: \(String(repeating: "x", count: 36))\r\n",
        ] {
            try self.leave(text)
            #expect(throws: refused) { try self.take("m") }
            #expect(access(self.destination, F_OK) != 0)
            unlink(self.folder + "/m")
        }
        // Over more than one read, and with the limit between a CR and its LF.
        let long = "A: " + String(repeating: "x", count: 70_000) + "\r\n\r\n.\r\n"
        try self.leave(long)
        #expect(throws: refused) {
            try self.take("m", limit: 100_000, headerLimits: (70_004, 3))
        }
        let taken = try self.take("m", limit: 100_000, headerLimits: (70_007, 3))
        #expect(taken.header.count == 70_005)
        #expect(try self.copied() == Array(long.utf8))
    }

    private func copied() throws -> [UInt8] {
        let file = open(self.destination, O_RDONLY)
        defer { close(file) }
        var octets = [UInt8](repeating: 0, count: 100_000)
        let count = read(file, &octets, octets.count)
        unlink(self.destination)
        return Array(octets.prefix(count))
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
        let size = try self.take("m", limit: 12).size
        #expect(size == 14)
    }

    @Test(arguments: ["a\nb\r\n", "a\rb\r\n", "a\r", "\n", "a\r\r\n"])
    func `a bare CR or LF is refused`(text: String) throws {
        try self.leave(text)
        #expect(throws: ReplacementMessage.Refusal.bareNewline) { try self.take("m") }
        #expect(access(self.destination, F_OK) != 0)
    }
}
