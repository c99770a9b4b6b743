import CLinux
import Glibc

/// What the kernel says about this machine and this process.
package enum Machine {
    /// The name of the machine, `localhost` if it has none or one that is not UTF-8.
    package static var hostname: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        let octets = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        guard !octets.isEmpty else { return "localhost" }
        return String(validating: octets, as: UTF8.self) ?? "localhost"
    }

    /// The path of this process's program.
    package static var programPath: String {
        guard let resolved = realpath("/proc/self/exe", nil) else { return "/proc/self/exe" }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// How many processors this process may use (sched_setaffinity(2)); at least 1.
    package static var processors: Int { max(1, Int(gatepost_processors())) }

    /// The id of this process.
    package static var processID: Int32 { getpid() }

    /// Waits without doing anything.
    package static func sleep(milliseconds: Int) {
        var time = timespec(
            tv_sec: milliseconds / 1_000,
            tv_nsec: milliseconds % 1_000 * 1_000_000
        )
        nanosleep(&time, nil)
    }
}
