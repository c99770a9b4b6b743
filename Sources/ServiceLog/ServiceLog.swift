package import Configuration
import Glibc
import JSON
package import Logging
import Synchronization

/// The log of Gatepost's programs, behind swift-log: one line an event, on standard error.
package enum ServiceLog {
    /// Sends everything that swift-log gets to standard error, from `level` on.
    ///
    /// Call once, at start, before the first `Logger` is made.
    package static func bootstrap(program: String, level: LogLevel, format: LogFormat) {
        let level = Logger.Level(level)
        LoggingSystem.bootstrap { _ in
            LineLogHandler(program: program, level: level, format: format)
        }
    }
}

extension Logger.Level {
    /// The level of the same word.
    package init(_ level: LogLevel) { self = Self(rawValue: level.rawValue) ?? .info }
}

/// Writes each event as one line with one `write(2)`, so that lines of several programs that share
/// standard error never mix.
///
/// Text of clients and workers is escaped here: no control octet reaches the terminal or the file
/// (hardening trap 5).
struct LineLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    private let program: String
    private let format: LogFormat

    init(program: String, level: Logger.Level, format: LogFormat) {
        self.program = program
        self.logLevel = level
        self.format = format
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var merged = self.metadata
        if let own = event.metadata { merged.merge(own) { _, new in new } }
        let fields = merged.sorted { $0.key < $1.key }.map {
            ($0.key, Self.cut($0.value.description))
        }
        var octets: [UInt8]
        switch self.format {
        case .text: octets = self.textLine(event.level, event.message.description, fields)
        case .json: octets = self.jsonLine(event.level, event.message.description, fields)
        }
        octets.append(UInt8(ascii: "\n"))
        octets.withUnsafeBytes { line in
            var rest = line[...]
            while !rest.isEmpty {
                let written = write(STDERR_FILENO, rest.baseAddressOfSlice, rest.count)
                if written < 0 && errno == EINTR { continue }
                guard written > 0 else { return }
                rest = rest.dropFirst(written)
            }
        }
    }

    /// Longest text of one field; what a client or a worker says is cut there.
    static let maximumFieldOctets = 512

    private static func cut(_ text: String) -> String {
        guard text.utf8.count > self.maximumFieldOctets else { return text }
        return String(decoding: text.utf8.prefix(self.maximumFieldOctets), as: UTF8.self) + "…"
    }

    private func textLine(
        _ level: Logger.Level,
        _ message: String,
        _ fields: [(String, String)]
    ) -> [UInt8] {
        var line: [UInt8] = []
        line.reserveCapacity(256)
        line.append(contentsOf: WallClock.timestamp().utf8)
        line.append(UInt8(ascii: " "))
        line.append(contentsOf: level.rawValue.utf8)
        line.append(UInt8(ascii: " "))
        LogText.appendEscaped(message, to: &line)
        for (key, value) in fields {
            line.append(UInt8(ascii: " "))
            line.append(contentsOf: key.utf8)
            line.append(UInt8(ascii: "="))
            LogText.appendQuotedIfNeeded(value, to: &line)
        }
        return line
    }

    private func jsonLine(
        _ level: Logger.Level,
        _ message: String,
        _ fields: [(String, String)]
    ) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("time")
        writer.string(WallClock.timestamp())
        writer.key("level")
        writer.string(level.rawValue)
        writer.key("program")
        writer.string(self.program)
        writer.key("message")
        writer.string(message)
        for (key, value) in fields {
            writer.key(escaping: key)
            writer.string(value)
        }
        writer.endObject()
        return writer.octets
    }
}

/// Escapes what must not reach a terminal or break a line.
enum LogText {
    static func appendEscaped(_ text: String, to line: inout [UInt8]) {
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x5C: line.append(contentsOf: #"\\"#.utf8)
            case 0x20...0x7E: line.append(UInt8(truncatingIfNeeded: scalar.value))
            case ..<0x20, 0x7F...0x9F, 0x2028, 0x2029, 0x202A...0x202E, 0x2066...0x2069:
                line.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".utf8)
            default: line.append(contentsOf: String(scalar).utf8)
            }
        }
    }

    /// Appends `text`, in double quotes when it holds a space, a quote or nothing.
    static func appendQuotedIfNeeded(_ text: String, to line: inout [UInt8]) {
        let needsQuotes =
            text.isEmpty || text.utf8.contains { $0 == 0x20 || $0 == 0x22 || $0 == 0x3D }
        guard needsQuotes else { return self.appendEscaped(text, to: &line) }
        line.append(UInt8(ascii: "\""))
        for part in text.split(separator: "\"", omittingEmptySubsequences: false).enumerated() {
            if part.offset > 0 { line.append(contentsOf: #"\""#.utf8) }
            self.appendEscaped(String(part.element), to: &line)
        }
        line.append(UInt8(ascii: "\""))
    }
}

/// The time of day as RFC 3339 in UTC; the text of a second is made once.
enum WallClock {
    private struct Cache {
        var second = time_t(-1)
        var text = ""
    }

    private static let cache = Mutex(Cache())

    static func timestamp() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let second = now.tv_sec
        let text = self.cache.withLock { cache in
            if cache.second != second {
                cache.second = second
                cache.text = self.format(second)
            }
            return cache.text
        }
        let millis = String(now.tv_nsec / 1_000_000)
        return text + "." + String(repeating: "0", count: 3 - millis.utf8.count) + millis + "Z"
    }

    private static func format(_ second: time_t) -> String {
        var second = second
        var parts = tm()
        gmtime_r(&second, &parts)
        func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
            + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }
}

extension Slice where Base == UnsafeRawBufferPointer {
    /// The address of the first octet of the slice; only asked for when it is not empty.
    fileprivate var baseAddressOfSlice: UnsafeRawPointer? {
        UnsafeRawBufferPointer(rebasing: self).baseAddress
    }
}
