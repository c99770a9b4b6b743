/// Finds the line on which each key of a TOML document stands; TOMLKit does not tell.
///
/// It reads only table headers, keys, and where a value ends. The document has been parsed before,
/// so it skips what it does not understand.
struct TOMLLocator {
    private var lines: [String: Int] = [:]
    /// How many elements each array of tables has so far.
    private var arrayCounts: [String: Int] = [:]
    private var table = ""
    private let octets: [UInt8]
    private var offset = 0
    private var line = 1

    init(_ octets: [UInt8]) {
        self.octets = octets
        while self.skipToStatement() {
            self.readStatement()
        }
    }

    /// The line of `path` (`pool[0].hooks.connect`), or else of the nearest table around it.
    func line(of path: String) -> Int? {
        var path = path[...]
        while !path.isEmpty {
            if let line = self.lines[String(path)] { return line }
            let end = path.lastIndex { $0 == "." || $0 == "[" } ?? path.startIndex
            path = path[..<end]
        }
        return nil
    }

    private var current: UInt8? {
        self.offset < self.octets.count ? self.octets[self.offset] : nil
    }

    private mutating func advance() {
        if self.current == UInt8(ascii: "\n") { self.line += 1 }
        self.offset += 1
    }

    /// Skips blank space and comments.
    ///
    /// - Returns: Whether anything is left.
    private mutating func skipToStatement() -> Bool {
        while let octet = self.current {
            switch octet {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: "\n"):
                self.advance()
            case UInt8(ascii: "#"):
                self.skipLine()
            default:
                return true
            }
        }
        return false
    }

    private mutating func skipLine() {
        while let octet = self.current, octet != UInt8(ascii: "\n") { self.advance() }
    }

    private mutating func readStatement() {
        let start = self.line
        guard self.current == UInt8(ascii: "[") else {
            let key = self.readKey()
            self.record(self.resolve(key, in: self.table), at: start)
            if self.current == UInt8(ascii: "=") { self.advance() }
            self.skipValue()
            return
        }
        self.advance()
        let isArray = self.current == UInt8(ascii: "[")
        if isArray { self.advance() }
        let key = self.readKey()
        self.table = self.resolve(key, in: "")
        if isArray {
            let parent = self.resolve(Array(key.dropLast()), in: "")
            let plain = Self.join(parent, key.last ?? "")
            let count = self.arrayCounts[plain, default: 0]
            self.arrayCounts[plain] = count + 1
            self.table = "\(plain)[\(count)]"
            self.record(plain, at: start)
        }
        self.record(self.table, at: start)
        self.skipLine()
    }

    private mutating func record(_ path: String, at line: Int) {
        if self.lines[path] == nil { self.lines[path] = line }
    }

    private static func join(_ table: String, _ key: String) -> String {
        table.isEmpty ? key : "\(table).\(key)"
    }

    /// The path of a dotted key; the name of an array of tables stands for its last element so far.
    private func resolve(_ key: [String], in table: String) -> String {
        key.reduce(table) { path, part in
            let joined = Self.join(path, part)
            return self.arrayCounts[joined].map { "\(joined)[\($0 - 1)]" } ?? joined
        }
    }

    /// Reads `a.b."c d"` up to what follows it.
    private mutating func readKey() -> [String] {
        var parts: [String] = []
        var part: [UInt8] = []
        while let octet = self.current {
            switch octet {
            case UInt8(ascii: "="), UInt8(ascii: "]"), UInt8(ascii: "\n"), UInt8(ascii: "#"):
                parts.append(String(decoding: part, as: UTF8.self))
                return parts
            case UInt8(ascii: "."):
                parts.append(String(decoding: part, as: UTF8.self))
                part = []
                self.advance()
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"):
                self.advance()
            case UInt8(ascii: "\""), UInt8(ascii: "'"):
                let start = self.offset + 1
                self.skipString(quote: octet)
                part += self.octets[min(start, self.offset)..<max(start, self.offset - 1)]
            default:
                part.append(octet)
                self.advance()
            }
        }
        parts.append(String(decoding: part, as: UTF8.self))
        return parts
    }

    /// Skips a value, which ends at a line's end outside strings and brackets.
    private mutating func skipValue() {
        var depth = 0
        while let octet = self.current {
            switch octet {
            case UInt8(ascii: "\n") where depth == 0:
                return
            case UInt8(ascii: "#"):
                self.skipLine()
            case UInt8(ascii: "\""), UInt8(ascii: "'"):
                self.skipString(quote: octet)
            case UInt8(ascii: "["), UInt8(ascii: "{"):
                depth += 1
                self.advance()
            case UInt8(ascii: "]"), UInt8(ascii: "}"):
                depth -= 1
                self.advance()
            default:
                self.advance()
            }
        }
    }

    private func isTripled(_ quote: UInt8) -> Bool {
        self.octets.dropFirst(self.offset).prefix(3).elementsEqual([quote, quote, quote])
    }

    /// Skips a string of any of the four kinds, quotes included.
    private mutating func skipString(quote: UInt8) {
        let isMultiline = self.isTripled(quote)
        self.offset += isMultiline ? 3 : 1
        while let octet = self.current {
            if octet == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
                self.advance()
                if self.current != nil { self.advance() }
            } else if isMultiline, self.isTripled(quote) {
                self.offset += 3
                return
            } else if !isMultiline, octet == quote || octet == UInt8(ascii: "\n") {
                if octet == quote { self.advance() }
                return
            } else {
                self.advance()
            }
        }
    }
}
