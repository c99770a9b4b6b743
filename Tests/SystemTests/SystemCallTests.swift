import Glibc
import System
import Testing

@Suite struct SystemCallTests {
    @Test func `all octets are written, and read until the end`() throws {
        var template = Array("/tmp/gatepost-system-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        try #require(descriptor >= 0)
        defer {
            close(descriptor)
            unlink(template)
        }
        let octets = (0..<200_000).map { UInt8(truncatingIfNeeded: $0) }
        #expect(DescriptorCalls.write(octets, to: descriptor) == 0)
        lseek(descriptor, 0, SEEK_SET)
        var found: [UInt8] = []
        while let chunk = DescriptorCalls.read(descriptor), !chunk.isEmpty { found += chunk }
        #expect(found == octets)
    }

    @Test func `a socket gets all octets in pieces, and no signal when its peer is gone`() {
        var ends: [Int32] = [-1, -1]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        #expect(DescriptorCalls.send(Array("hello\n".utf8), to: ends[0]) == 0)
        #expect(DescriptorCalls.read(ends[1]) == Array("hello\n".utf8))
        close(ends[1])
        #expect(DescriptorCalls.send([1], to: ends[0]) == EPIPE)
        close(ends[0])
    }

    @Test func `after a part was taken the rest is tried`() {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue)
        #expect(socketpair(AF_UNIX, type, 0, &ends) == 0)
        let octets = [UInt8](repeating: 1, count: 16 << 20)
        #expect(DescriptorCalls.write(octets, to: ends[0]) == EAGAIN)
        for end in ends { close(end) }
    }

    @Test func `a call that fails says why`() throws {
        #expect(DescriptorCalls.write([1], to: -1) == EBADF)
        #expect(DescriptorCalls.read(-1) == nil)
        let full = open("/dev/full", O_WRONLY | O_CLOEXEC)
        try #require(full >= 0)
        #expect(DescriptorCalls.write([1], to: full) == ENOSPC)
        close(full)
        let error = SystemError("open", "/nowhere", ENOENT)
        #expect(error.description == "cannot open /nowhere: No such file or directory")
    }

    @Test func `a call that a signal interrupts is made again, any other is not`() {
        var calls = 0
        let result = retrying { () -> Int32 in
            calls += 1
            errno = EINTR
            return calls < 3 ? -1 : 7
        }
        #expect(result == 7 && calls == 3)
        calls = 0
        let failed = retrying { () -> Int32 in
            calls += 1
            errno = EBADF
            return -1
        }
        #expect(failed == -1 && calls == 1)
    }

    @Test func `an address has a path of 1 to 107 octets`() {
        #expect(UnixSocketAddress("") == nil)
        #expect(UnixSocketAddress(String(repeating: "a", count: 107)) != nil)
        #expect(UnixSocketAddress(String(repeating: "a", count: 108)) == nil)
    }

    @Test func `a socket can be connected by its path or abstract name`() throws {
        let path = "/tmp/gatepost-\(getpid()).sock"
        let names = [path: path, "@gatepost-\(getpid())": "\0gatepost-\(getpid())"]
        for (name, bound) in names {
            let server = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            let client = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            defer {
                close(server)
                close(client)
                unlink(path)
            }
            let address = try #require(UnixSocketAddress(name))
            #expect(address.connect(client) == -1)
            #expect(Self.bind(server, bound) == 0)
            #expect(listen(server, 1) == 0)
            #expect(address.connect(client) == 0)
        }
    }

    private static func bind(_ socket: Int32, _ name: String) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name.utf8) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + name.utf8.count)
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.bind(socket, $0, length)
            }
        }
    }

    @Test func `the time of day is that of time(2)`() {
        let before = time(nil)
        let milliseconds = UnixTime.milliseconds
        #expect(before <= UnixTime.seconds)
        #expect(milliseconds / 1_000 >= Int64(before) && milliseconds / 1_000 <= Int64(time(nil)))
    }

    @Test func `the name of the machine is the kernel's`() throws {
        let file = open("/proc/sys/kernel/hostname", O_RDONLY | O_CLOEXEC)
        defer { close(file) }
        let octets = try #require(DescriptorCalls.read(file))
        #expect("\(Machine.hostname)\n" == String(decoding: octets, as: UTF8.self))
    }
}
