import Glibc
import Testing

@testable import Frontend

/// What is removed of folders that grow: `out/` and `poison/`.
struct SpoolSweepTests {
    private let folder = "/tmp/gatepost-sweep-\(getpid())-\(UInt32.random(in: .min ... .max))"

    init() { mkdir(self.folder, 0o700) }

    private func make(_ name: String, octets: Int = 1, modified second: Int = 0) {
        let path = self.folder + "/" + name
        close(open(path, O_WRONLY | O_CREAT, 0o600))
        truncate(path, off_t(octets))
        let time = timespec(tv_sec: second, tv_nsec: 0)
        utimensat(AT_FDCWD, path, [time, time], 0)
    }

    private func finish() {
        OutFolder.sweep(self.folder, changedBefore: nil)
        rmdir(self.folder)
    }

    private func isThere(_ name: String) -> Bool { access(self.folder + "/" + name, F_OK) == 0 }

    @Test func `what changed lately stays, whatever time it says it was modified`() {
        defer { self.finish() }
        self.make("file", modified: 1)
        OutFolder.sweep(self.folder, changedBefore: time(nil) - 1_000)
        #expect(self.isThere("file"))
        OutFolder.sweep(self.folder, changedBefore: time(nil) + 1_000)
        #expect(!self.isThere("file"))
    }

    @Test func `the oldest events go until number and octets fit`() {
        defer { self.finish() }
        for event in 1...4 {
            self.make("\(event).event.json", octets: 10, modified: 100 - event)
            self.make("\(event).eml", octets: 90, modified: 100 - event)
        }
        func surplus(files: Int, octets: Int64) -> [String] {
            PoisonFiles.surplus(in: self.folder, files: files, octets: octets)
        }
        #expect(surplus(files: 4, octets: 400) == [])
        #expect(surplus(files: 3, octets: 400) == ["4"])
        #expect(surplus(files: 4, octets: 399) == ["4"])
        #expect(surplus(files: 4, octets: 200) == ["4", "3"])
        #expect(surplus(files: 1, octets: 200) == ["4", "3", "2"])
        #expect(surplus(files: 4, octets: 0) == ["4", "3", "2", "1"])
        PoisonFiles.remove(base: self.folder + "/4")
        #expect(!self.isThere("4.event.json") && !self.isThere("4.eml"))
        #expect(surplus(files: 3, octets: 300) == [])
    }
}
