import Glibc
import System

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
        _ = DescriptorCalls.write(Array("\(line)\n".utf8), to: descriptor)
    }
}
