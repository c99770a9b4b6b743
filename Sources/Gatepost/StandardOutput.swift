import Glibc

/// Writes whole lines to standard output, unbuffered, because a program may wait for them in a
/// pipe.
enum StandardOutput {
    static func write(_ line: String) { Line.write(line, to: STDOUT_FILENO) }
}

/// Writes whole lines to standard error.
enum StandardError {
    static func write(_ line: String) { Line.write(line, to: STDERR_FILENO) }
}

private enum Line {
    static func write(_ line: String, to descriptor: Int32) {
        var rest = Array("\(line)\n".utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}
