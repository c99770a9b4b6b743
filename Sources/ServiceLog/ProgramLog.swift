package import Configuration
package import Logging
import Synchronization
import System

/// The log of Gatepost's programs, behind swift-log: one line an event, on standard error.
///
/// A caller never waits for the reader of standard error or standard output: lines go to a
/// ``LineWriter``, whose thread writes them.
package enum ProgramLog {
    /// How long a program that ends waits until its last lines are written.
    static let flushMS: Int64 = 1_000

    private static let standardError = LineWriter(descriptor: DescriptorCalls.standardError)
    private static let standardOutput = LineWriter(descriptor: DescriptorCalls.standardOutput)
    /// What lines look like; `nil` before ``bootstrap(program:level:format:)``.
    private static let format = Mutex<LogLineFormat?>(nil)

    /// Sends everything that swift-log gets to standard error, from `level` on.
    ///
    /// Call once, at start, before the first `Logger` is made.
    package static func bootstrap(program: String, level: LogLevel, format: LogFormat) {
        let level = Logger.Level(level)
        let lines = LogLineFormat(program: program, format: format)
        self.format.withLock { $0 = lines }
        self.flushAtExit()
        let writer = self.standardError
        writer.sayDropped { count in
            lines.line(
                .warning,
                "lines of the log were dropped: its reader is too slow",
                ["lines": .stringConvertible(count)]
            )
        }
        LoggingSystem.bootstrap { _ in
            LineLogHandler(level: level, format: lines, writer: writer)
        }
    }

    /// Says on standard error why the program cannot go on; `text` may have several lines.
    ///
    /// With `log_format = "json"` each line is one of the log at `critical`; else it is written as
    /// it is.
    package static func complain(_ text: String) {
        self.flushAtExit()
        guard let format = self.format.withLock(\.self), format.format == .json else {
            return self.standardError.write(Array("\(text)\n".utf8))
        }
        for line in text.utf8.split(separator: UInt8(ascii: "\n")) {
            let message = String(decoding: line, as: UTF8.self)
            self.standardError.write(format.line(.critical, message, [:]))
        }
    }

    /// Prints one line on standard output.
    package static func say(_ line: String) {
        self.flushAtExit()
        self.standardOutput.write(Array("\(line)\n".utf8))
    }

    /// Waits until everything is written, for a second at most.
    ///
    /// exit(3) does it; a program that ends by `_exit` calls it before.
    package static func flush() {
        self.standardError.flush(withinMS: self.flushMS)
        self.standardOutput.flush(withinMS: self.flushMS)
    }

    private static func flushAtExit() { _ = self.registration }

    /// Registers ``flush()`` for exit(3), once, when it is first read.
    private static let registration: Void = ExitStatus.beforeExit { ProgramLog.flush() }
}

extension Logger.Level {
    /// The level of the same word.
    package init(_ level: LogLevel) { self = Self(rawValue: level.rawValue) ?? .info }
}

/// Makes each event one line and hands it to the writer.
struct LineLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    private let format: LogLineFormat
    private let writer: LineWriter

    init(level: Logger.Level, format: LogLineFormat, writer: LineWriter) {
        self.logLevel = level
        self.format = format
        self.writer = writer
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var fields = self.metadata
        if let own = event.metadata { fields.merge(own) { _, new in new } }
        self.writer.write(self.format.line(event.level, event.message.description, fields))
    }
}
