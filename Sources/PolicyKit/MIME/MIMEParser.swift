import Octets

/// Reads the structure of a message in one pass over its lines.
///
/// Each line that begins with `--` is compared with the boundaries of the multiparts around it, of
/// which there are at most as many as the depth may be. So the work is proportional to the octets.
struct MIMEParser {
    /// A line with a boundary.
    private struct Delimiter {
        /// Whose boundary: an index into ``boundaries``.
        let level: Int
        /// Whether it ends the multipart.
        let isLast: Bool
        /// Where the line begins.
        let start: Int
        /// Where the line after it begins.
        let end: Int
    }

    private let octets: [UInt8]
    private let limits: MIMEMessage.Limits
    /// The boundaries of the multiparts that the parser is in, the outermost first.
    private var boundaries: [[UInt8]] = []
    /// Where the parser is: the start of a line.
    private var position = 0
    /// The delimiter at which the last content ended; `nil` at the end of the message.
    private var delimiter: Delimiter?
    private var count = 0
    private(set) var stop: MIMEMessage.Stop?

    init(_ octets: [UInt8], limits: MIMEMessage.Limits) {
        self.octets = octets
        self.limits = limits
    }

    mutating func parse() -> MIMEPart { self.part(depth: 0, defaultType: "text/plain") }

    private mutating func stop(_ reason: MIMEMessage.Stop.Reason) {
        if self.stop == nil { self.stop = MIMEMessage.Stop(reason: reason, offset: self.position) }
    }

    // MARK: Parts

    private mutating func part(depth: Int, defaultType: String) -> MIMEPart {
        self.count += 1
        let fields = self.readHeader()
        let head = MIMEHead(fields, defaultType: defaultType)
        let start = self.position
        var parts: [MIMEPart] = []
        if self.delimiter == nil, let inner = self.inner(head) {
            if depth >= self.limits.depth {
                self.stop(.depth)
                self.skip()
            } else {
                switch inner {
                case .message: parts = [self.part(depth: depth + 1, defaultType: "text/plain")]
                case .multipart(let boundary):
                    parts = self.multipart(head, boundary, depth: depth)
                }
            }
        } else if self.delimiter == nil {
            self.skip()
        }
        return MIMEPart(
            fields: fields,
            type: head.type,
            parameters: head.parameters,
            disposition: head.disposition,
            filename: head.filename,
            encoding: head.encoding,
            parts: parts,
            range: start..<max(start, self.contentEnd),
            message: self.octets
        )
    }

    private enum Inner {
        case message
        case multipart(boundary: [UInt8])
    }

    /// What a part has within; `nil` if it is content only.
    private func inner(_ head: MIMEHead) -> Inner? {
        guard head.encoding.isIdentity else { return nil }
        if head.type == "message/rfc822" { return .message }
        guard head.type.hasPrefix("multipart/"), let text = head.parameters["boundary"],
            !text.isEmpty
        else { return nil }
        return .multipart(boundary: Array(text.utf8))
    }

    private mutating func multipart(
        _ head: MIMEHead,
        _ boundary: [UInt8],
        depth: Int
    ) -> [MIMEPart] {
        let level = self.boundaries.count
        let defaultType = head.type == "multipart/digest" ? "message/rfc822" : "text/plain"
        var parts: [MIMEPart] = []
        self.boundaries.append(boundary)
        self.skip()  // the preamble
        while let delimiter = self.delimiter, delimiter.level == level, !delimiter.isLast {
            guard self.count < self.limits.parts else {
                self.stop(.parts)
                self.position = self.octets.count
                self.delimiter = nil
                break
            }
            self.position = delimiter.end
            self.delimiter = nil
            parts.append(self.part(depth: depth + 1, defaultType: defaultType))
        }
        self.boundaries.removeLast()
        if let delimiter = self.delimiter, delimiter.level == level {
            self.position = delimiter.end
            self.skip()  // the epilogue
        }
        return parts
    }

    /// Where the content before the delimiter ends: the line end before it belongs to it.
    private var contentEnd: Int {
        guard var end = self.delimiter?.start else { return self.octets.count }
        if end > 0, self.octets[end - 1] == 0x0A { end -= 1 }
        if end > 0, self.octets[end - 1] == 0x0D { end -= 1 }
        return end
    }

    // MARK: Lines

    /// Goes on to the next delimiter, or to the end.
    private mutating func skip() {
        self.delimiter = nil
        while self.position < self.octets.count {
            let end = self.lineEnd
            if let delimiter = self.delimiter(end) {
                self.delimiter = delimiter
                return
            }
            self.position = end
        }
    }

    /// Where the line after this one begins.
    private var lineEnd: Int {
        let rest = self.octets[self.position...]
        return rest.firstIndex(of: 0x0A).map { $0 + 1 } ?? rest.endIndex
    }

    /// This line without its end.
    private func line(_ end: Int) -> ArraySlice<UInt8> {
        var line = self.octets[self.position..<end]
        if line.last == 0x0A { line.removeLast() }
        if line.last == 0x0D { line.removeLast() }
        return line
    }

    private func delimiter(_ end: Int) -> Delimiter? {
        let line = self.line(end)
        guard !self.boundaries.isEmpty, line.starts(with: [0x2D, 0x2D]) else { return nil }
        for level in self.boundaries.indices.reversed() {
            let boundary = self.boundaries[level]
            let text = line.dropFirst(2)
            guard text.starts(with: boundary) else { continue }
            var rest = text.dropFirst(boundary.count)
            let isLast = rest.starts(with: [0x2D, 0x2D])
            if isLast { rest = rest.dropFirst(2) }
            guard rest.allSatisfy(\.isBlank) else { continue }
            return Delimiter(level: level, isLast: isLast, start: self.position, end: end)
        }
        return nil
    }

    /// Reads a header and the empty line after it.
    ///
    /// A line that is neither a field nor goes on with one is left out. A delimiter ends the header.
    private mutating func readHeader() -> [MIMEField] {
        var fields: [MIMEField] = []
        var name: Bytes?
        var value: [UInt8] = []
        func take() {
            if let name {
                let value = Bytes(octets: trimmed(value[...]))
                fields.append(MIMEField(name: name, value: value))
            }
            name = nil
            value = []
        }
        while self.position < self.octets.count {
            let end = self.lineEnd
            let line = self.line(end)
            if let delimiter = self.delimiter(end) {
                self.delimiter = delimiter
                break
            }
            defer { self.position = end }
            if line.isEmpty { break }
            if let first = line.first, first.isBlank {
                value += line
                continue
            }
            take()
            guard fields.count < self.limits.fields else {
                self.stop(.fields)
                continue
            }
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            name = Bytes(octets: trimmed(line[..<colon]))
            value = Array(line[(colon + 1)...])
        }
        take()
        return fields
    }
}

/// What a part's header says about its content.
struct MIMEHead {
    var type: String
    var parameters: [String: String] = [:]
    var disposition: String?
    var filename: String?
    var encoding = TransferEncoding.sevenBit

    init(_ fields: [MIMEField], defaultType: String) {
        self.type = defaultType
        if let field = fields.first(where: { $0.isNamed("content-type") }) {
            let value = MIMEParameters(field.value.octets)
            // An unreadable type is text (RFC 2045 §5.2).
            self.type = value.word.split(separator: "/").count == 2 ? value.word : "text/plain"
            self.parameters = value.parameters
        }
        if let field = fields.first(where: { $0.isNamed("content-disposition") }) {
            let value = MIMEParameters(field.value.octets)
            self.disposition = value.word.isEmpty ? nil : value.word
            self.filename = value.parameters["filename"]
        }
        self.filename = self.filename ?? self.parameters["name"]
        if let field = fields.first(where: { $0.isNamed("content-transfer-encoding") }) {
            self.encoding = TransferEncoding(MIMEParameters(field.value.octets).word)
        }
    }
}

/// Octets without blanks at both ends.
private func trimmed(_ octets: ArraySlice<UInt8>) -> [UInt8] {
    var rest = octets.drop(while: \.isBlank)
    while let last = rest.last, last.isBlank { rest.removeLast() }
    return Array(rest)
}
