import Configuration
package import Logging

/// Octets of a client or a message as a value of the log, whatever they are.
package struct LogOctets: CustomStringConvertible, Sendable {
    /// What comes behind so many octets is not written.
    package static let maximumCount = 512

    package let octets: [UInt8]

    package init(_ octets: some Sequence<UInt8>) { self.octets = Array(octets) }

    package var description: String { String(decoding: self.octets, as: UTF8.self) }
}

extension Logger.MetadataValue {
    /// Octets of a client or a message, whatever they are.
    package static func octets(_ octets: some Sequence<UInt8>) -> Self {
        .stringConvertible(LogOctets(octets))
    }

    /// A number, which JSON logs show as one.
    package static func number(_ number: some FixedWidthInteger & Sendable) -> Self {
        .stringConvertible(number)
    }
}

/// What a line of the log looks like.
///
/// Text: `TIME LEVEL MESSAGE key=value …`; a value or a message with a space, a quotation mark or `=` is
/// quoted. JSON: an object with `time`, `level`, `program`, `message` and the keys beside them; a key
/// that one of these four has already gets an underscore.
struct LogLineFormat: Sendable {
    /// Longest text of one value, and of a message or a key; what comes behind is cut.
    static let maximumValueOctets = LogOctets.maximumCount
    static let maximumMessageOctets = 4_096

    let program: String
    let format: LogFormat

    /// The line, with its LF.
    func line(
        _ level: Logger.Level,
        _ message: String,
        _ metadata: Logger.Metadata,
        time: String = WallClock.timestamp()
    ) -> [UInt8] {
        var line: [UInt8] = []
        line.reserveCapacity(512)
        let fields = metadata.sorted { $0.key < $1.key }
        switch self.format {
        case .text:
            line.append(contentsOf: "\(time) \(level.rawValue) ".utf8)
            Self.appendMessage(message, to: &line)
            for (key, value) in fields {
                line.append(UInt8(ascii: " "))
                Self.append(key, .word, to: &line)
                line.append(UInt8(ascii: "="))
                Self.appendTextValue(LogValue(value), to: &line)
            }
        case .json:
            line.append(contentsOf: #"{"time":"\#(time)","level":"\#(level.rawValue)""#.utf8)
            Self.append(#","program":"#, string: self.program, to: &line)
            Self.append(#","message":"#, string: message, to: &line)
            for (key, value) in fields {
                line.append(UInt8(ascii: ","))
                Self.append("", string: Self.freeKey(key, in: metadata), to: &line)
                line.append(UInt8(ascii: ":"))
                Self.appendJSONValue(LogValue(value), to: &line)
            }
            line.append(UInt8(ascii: "}"))
        }
        line.append(UInt8(ascii: "\n"))
        return line
    }

    // MARK: - Text

    private static func appendMessage(_ message: String, to line: inout [UInt8]) {
        // Foreign text in it must not look like a key and its value.
        let isQuoted = message.utf8.contains {
            $0 == UInt8(ascii: "\"") || $0 == UInt8(ascii: "=")
        }
        if isQuoted { line.append(UInt8(ascii: "\"")) }
        self.append(message, .text, to: &line)
        if isQuoted { line.append(UInt8(ascii: "\"")) }
    }

    private static func appendTextValue(_ value: LogValue, to line: inout [UInt8]) {
        switch value {
        case .literal(let text): line.append(contentsOf: text.utf8)
        case .octets(let octets):
            let needsQuotes = octets.isEmpty || octets.contains { Self.isQuotedInText($0) }
            if needsQuotes { line.append(UInt8(ascii: "\"")) }
            LogText.append(octets.span, .text, limit: Self.maximumValueOctets, to: &line)
            if needsQuotes { line.append(UInt8(ascii: "\"")) }
        }
    }

    /// What does not stand without quotes: a space, `"`, `=`, and all that is not ASCII.
    private static func isQuotedInText(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: " "), UInt8(ascii: "\""), UInt8(ascii: "="), 0x80...0xFF: true
        default: false
        }
    }

    private static func append(_ text: String, _ style: LogText.Style, to line: inout [UInt8]) {
        LogText.append(
            Array(text.utf8).span,
            style,
            limit: Self.maximumMessageOctets,
            to: &line
        )
    }

    // MARK: - JSON

    private static let reservedKeys: Set<String> = ["time", "level", "program", "message"]

    private static func freeKey(_ key: String, in metadata: Logger.Metadata) -> String {
        guard Self.reservedKeys.contains(key) else { return key }
        var key = key
        repeat { key += "_" } while metadata[key] != nil
        return key
    }

    private static func append(
        _ before: StaticString,
        string: String,
        to line: inout [UInt8]
    ) {
        before.withUTF8Buffer { line.append(contentsOf: $0) }
        line.append(UInt8(ascii: "\""))
        self.append(string, .json, to: &line)
        line.append(UInt8(ascii: "\""))
    }

    private static func appendJSONValue(_ value: LogValue, to line: inout [UInt8]) {
        switch value {
        case .literal(let text): line.append(contentsOf: text.utf8)
        case .octets(let octets):
            line.append(UInt8(ascii: "\""))
            LogText.append(octets.span, .json, limit: Self.maximumValueOctets, to: &line)
            line.append(UInt8(ascii: "\""))
        }
    }
}

/// A value of swift-log's, as a line has it.
private enum LogValue {
    /// A number or `true`, `false`: the same in text and JSON.
    case literal(String)
    /// Everything else; escaped when it is written.
    case octets([UInt8])

    init(_ value: Logger.MetadataValue) {
        switch value {
        case .string(let text): self = .octets(Array(text.utf8))
        case .stringConvertible(let value): self = Self.converted(value)
        case .array, .dictionary: self = .octets(Array(value.description.utf8))
        }
    }

    /// Beyond these integers readers of JSON disagree (RFC 7493 §2.2).
    private static let largestInteger: Int64 = 9_007_199_254_740_991

    private static func converted(_ value: any CustomStringConvertible & Sendable) -> Self {
        switch value {
        case let octets as LogOctets: return .octets(octets.octets)
        case let truth as Bool: return .literal("\(truth)")
        case let number as any FixedWidthInteger:
            if let whole = Int64(exactly: number), whole.magnitude <= Self.largestInteger.magnitude
            {
                return .literal("\(whole)")
            }
        case let number as Double where number.isFinite: return .literal("\(number)")
        case let number as Float where number.isFinite: return .literal("\(number)")
        default: break
        }
        return .octets(Array(value.description.utf8))
    }
}
