import Glibc
import System
import Testing

@Suite struct DescriptorTests {
    /// A file of these octets, for one test.
    private static func withFile(_ octets: [UInt8], _ body: (String) throws -> Void) throws {
        let path = "/tmp/descriptor-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        defer { unlink(path) }
        do {
            let flags = O_WRONLY | O_CREAT | O_EXCL
            let file = try Descriptor(opening: path, flags, mode: 0o600)
            try file.write(octets.span)
            try file.sync()
        }
        try body(path)
    }

    private static let octets = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }

    @Test func `what was written is read again, whole and in parts`() throws {
        try Self.withFile(Self.octets) { path in
            let file = try Descriptor(reading: path)
            #expect(try file.readAll(limit: 100_000) == Self.octets)
            #expect(try file.readAll(limit: 0) == [])
            #expect(try file.read(1_000, at: 50_000) == Array(Self.octets[50_000..<51_000]))
            #expect(try file.read(1_000, at: 99_900) == Array(Self.octets[99_900...]))
            #expect(try file.read(1_000, at: 100_000) == [])
            var buffer: [UInt8] = [1, 2, 3, 4]
            #expect(try file.read(into: &buffer, from: 2, at: 7) == 2)
            #expect(buffer == [1, 2] + Self.octets[7..<9])
        }
    }

    @Test func `a file over the limit is not read`() throws {
        try Self.withFile(Self.octets) { path in
            let octets = try Descriptor(reading: path).readAll(limit: 99_999)
            #expect(octets == nil)
        }
    }

    @Test func `an error says what was tried with which file`() throws {
        #expect(throws: SystemError("open", "/no/file", ENOENT)) {
            try Descriptor(reading: "/no/file").sync()
        }
        #expect(throws: SystemError("read", "/", EISDIR)) {
            _ = try Descriptor(reading: "/").readAll(limit: 10)
        }
        #expect(throws: SystemError("read", "/", EISDIR)) {
            _ = try Descriptor(reading: "/").read(10, at: 0)
        }
        #expect(SystemError("read", "/", EISDIR).reason == "Is a directory")
        try Self.withFile([]) { path in
            let link = "\(path).link"
            symlink(path, link)
            defer { unlink(link) }
            try Descriptor(reading: link).sync()
            #expect(throws: SystemError("open", link, ELOOP)) {
                try Descriptor(reading: link, followsLinks: false).sync()
            }
        }
    }

    @Test func `a descriptor is closed when its value goes`() throws {
        let ends = try Spawn.makePipe()
        defer { close(ends.read) }
        do {
            let copy = try Descriptor(opening: "/proc/self/fd/\(ends.write)", O_WRONLY)
            close(ends.write)
            try copy.write([7].span)
            #expect(DescriptorCalls.read(ends.read) == [7])
            try copy.write([8].span)
        }
        #expect(DescriptorCalls.read(ends.read) == [8])
        var entry = pollfd(fd: ends.read, events: Int16(POLLIN), revents: 0)
        #expect(poll(&entry, 1, 30_000) == 1)
        #expect(entry.revents & Int16(POLLHUP) != 0)
    }

    @Test func `a write waits for room in a descriptor that is non-blocking`() throws {
        let ends = try Spawn.makePipe()
        defer { close(ends.read) }
        _ = fcntl(ends.write, F_SETFL, O_NONBLOCK)
        #expect(
            BackgroundThread.start(stackOctets: 262_144) {
                Self.octets.withUnsafeBytes {
                    _ = DescriptorCalls.writeWaiting($0, to: ends.write)
                }
                close(ends.write)
            }
        )
        var octets: [UInt8] = []
        while let chunk = DescriptorCalls.read(ends.read), !chunk.isEmpty { octets += chunk }
        #expect(octets == Self.octets)
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00Z", 4), (951_782_399, "2000-02-28T23:59:59Z", 1),
            (951_868_799, "2000-02-29T23:59:59Z", 2), (4_102_444_800, "2100-01-01T00:00:00Z", 5),
            (-1, "1969-12-31T23:59:59Z", 3),
        ]
    )
    func `a time is written in UTC`(seconds: Int, text: String, weekday: Int) {
        #expect(UTCTime(seconds).text == text)
        #expect(UTCTime(seconds).weekday == weekday)
    }
}
