package import Logging

/// The universal argument `loglevel`: `5` forces a level, `+1` makes lines less severe, `-1` more.
///
/// The numbers are syslog's, as in qpsmtpd: 0 emergency, 3 error, 4 warning, 5 notice, 6 info,
/// 7 debug.
package enum LogLevelChange: Sendable, Equatable {
    case force(Int)
    case shift(Int)

    init?(word: String) {
        guard let number = Int(word), -7...7 ~= number else { return nil }
        self = word.hasPrefix("+") || word.hasPrefix("-") ? .shift(number) : .force(number)
    }

    /// The level that lines of `level` get.
    package func applied(to level: Logger.Level) -> Logger.Level {
        switch self {
        case .force(let severity): Self.level(severity)
        case .shift(let change): Self.level(Self.severity(level) + change)
        }
    }

    /// A logger whose lines all get their level from this.
    package func applied(to logger: Logger) -> Logger {
        Logger(label: logger.label) { _ in
            ShiftedLogHandler(handler: logger.handler, change: self)
        }
    }

    private static func severity(_ level: Logger.Level) -> Int {
        switch level {
        case .critical: 2
        case .error: 3
        case .warning: 4
        case .notice: 5
        case .info: 6
        case .debug: 7
        case .trace: 8
        }
    }

    private static func level(_ severity: Int) -> Logger.Level {
        switch severity {
        case ...2: .critical
        case 3: .error
        case 4: .warning
        case 5: .notice
        case 6: .info
        default: .debug
        }
    }
}

extension ArgumentType<LogLevelChange> {
    static var logLevel: Self {
        Self("a number from 0 to 7, or with a sign a change of the level") {
            LogLevelChange(word: $0)
        }
    }
}

/// Passes lines on with another level; the handler behind it decides which are written.
private struct ShiftedLogHandler: LogHandler {
    var handler: any LogHandler
    let change: LogLevelChange

    // Everything comes in: only after the change is known whether the line is severe enough.
    var logLevel: Logger.Level {
        get { .trace }
        set { self.handler.logLevel = newValue }
    }

    var metadata: Logger.Metadata {
        get { self.handler.metadata }
        set { self.handler.metadata = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.handler[metadataKey: key] }
        set { self.handler[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) {
        let level = self.change.applied(to: event.level)
        guard level >= self.handler.logLevel else { return }
        var event = event
        event.level = level
        self.handler.log(event: event)
    }
}
