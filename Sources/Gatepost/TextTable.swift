/// Text in columns.
enum TextTable {
    /// Each row as a line; columns are as wide as their widest cell, and two spaces apart.
    static func lines(_ rows: [[String]]) -> [String] {
        var widths: [Int] = []
        for row in rows {
            for (column, cell) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count)
            }
        }
        return rows.map { row in
            row.enumerated().reduce(into: "") { line, next in
                line += next.element
                guard next.offset < row.count - 1 else { return }
                let padding = widths[next.offset] - next.element.count + 2
                line += String(repeating: " ", count: padding)
            }
        }
    }
}

/// Makes text of clients and workers safe to print on a terminal.
enum PrintableText {
    /// Replaces control characters, and characters that change the direction of writing, by `\u{…}`.
    static func text(_ text: String) -> String {
        text.unicodeScalars.reduce(into: "") { line, scalar in
            if Self.isCommand(scalar) {
                line += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                line.unicodeScalars.append(scalar)
            }
        }
    }

    /// The same JSON, with such characters escaped.
    static func json(_ octets: [UInt8]) -> String {
        String(decoding: octets, as: UTF8.self).unicodeScalars.reduce(into: "") { line, scalar in
            if Self.isCommand(scalar) {
                let digits = String(scalar.value, radix: 16)
                line += "\\u" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
            } else {
                line.unicodeScalars.append(scalar)
            }
        }
    }

    private static func isCommand(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case ..<0x20, 0x7F...0x9F, 0x200E...0x200F, 0x2028...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}
