import PolicyKit

/// A file in a part that MIME does not show: uuencoded in a text, or in a `winmail.dat` (TNEF).
struct EmbeddedFile: Sendable, Equatable {
    /// The names that it gives itself, as they stand there.
    var names: [String] = []
    /// What is in it; empty if that was not found.
    var content: [UInt8] = []
}

/// The files in a part.
struct EmbeddedFiles: Sendable, Equatable {
    /// The most files of a part.
    static let maximumFiles = 1_000
    /// The most octets of a name.
    static let maximumName = 1_000

    var files: [EmbeddedFile] = []
    /// Whether something is not as it should be, or there are too many files.
    var isDamaged = false

    /// What is in a part without parts within; `content` is the part's, decoded.
    init(_ part: MIMEPart, _ content: [UInt8]) {
        if part.type == "text/plain" || Self.isUUEncoded(part.encoding) {
            self = UUEncoding.files(in: content)
        } else if TNEF.begins(content[...]) {
            self = TNEF.files(in: content)
        }
    }

    init() {}

    private static func isUUEncoded(_ encoding: TransferEncoding) -> Bool {
        guard case .unknown(let word) = encoding else { return false }
        return ["x-uuencode", "x-uue", "uuencode", "uue"].contains(word)
    }
}

/// Files between lines `begin` and `end`, as uuencode(1) of POSIX writes them.
enum UUEncoding {
    private static let begin = Array("begin".utf8)
    private static let end = Array("end".utf8)

    /// The files in a text, in time proportional to its octets.
    ///
    /// A file begins with a line `begin MODE NAME`, MODE three or four octal digits, and ends before the first line that is none of
    /// uuencode.
    static func files(in text: [UInt8]) -> EmbeddedFiles {
        var found = EmbeddedFiles()
        var isInFile = false
        // Lines that lost spaces say more than they have.
        var total = 0
        var index = 0
        while index < text.count {
            let line = Self.line(text, &index)
            if isInFile {
                if let octets = Self.decoded(line), let last = found.files.indices.last {
                    total += octets.count
                    guard total <= text.count else {
                        found.isDamaged = true
                        return found
                    }
                    found.files[last].content += octets
                    isInFile = !octets.isEmpty
                    continue
                }
                isInFile = false
            }
            guard let name = Self.name(line) else { continue }
            guard found.files.count < EmbeddedFiles.maximumFiles else {
                found.isDamaged = true
                return found
            }
            found.files.append(EmbeddedFile(names: [name]))
            isInFile = true
        }
        return found
    }

    /// The line at `index`, without its end; `index` is behind that then.
    private static func line(_ text: [UInt8], _ index: inout Int) -> ArraySlice<UInt8> {
        let start = index
        while index < text.count, text[index] != 0x0A { index += 1 }
        var line = text[start..<index]
        index += 1
        if line.last == 0x0D { line.removeLast() }
        return line
    }

    /// The name of a line `begin 644 name`; `nil` if it is another line.
    private static func name(_ line: ArraySlice<UInt8>) -> String? {
        guard line.starts(with: Self.begin) else { return nil }
        let words = line.split(maxSplits: 2) { $0 == 0x20 || $0 == 0x09 }
        guard words.count == 3, words[0].count == Self.begin.count,
            (3...4).contains(words[1].count),
            words[1].allSatisfy({ 0x30...0x37 ~= $0 })
        else { return nil }
        return String(
            decoding: words[2].drop { $0 == 0x20 || $0 == 0x09 }.prefix(EmbeddedFiles.maximumName),
            as: UTF8.self
        )
    }

    /// What a line of a file says: nothing at its end; `nil` if it is no such line.
    ///
    /// Spaces at its end may have got lost on the way.
    private static func decoded(_ line: ArraySlice<UInt8>) -> [UInt8]? {
        guard let first = line.first, 0x20...0x60 ~= first else { return nil }
        let count = Int((first - 0x20) & 0x3F)
        guard count > 0 else { return [] }
        if line.elementsEqual(Self.end) { return nil }
        let digits = line.dropFirst()
        guard digits.count <= (count + 2) / 3 * 4 + 2,
            digits.allSatisfy({ 0x20...0x60 ~= $0 })
        else { return nil }
        var octets: [UInt8] = []
        octets.reserveCapacity(count + 2)
        var index = digits.startIndex
        while octets.count < count {
            var group: UInt32 = 0
            for _ in 0..<4 {
                let digit = index < digits.endIndex ? (digits[index] - 0x20) & 0x3F : 0
                group = group << 6 | UInt32(digit)
                index += 1
            }
            octets.append(UInt8(truncatingIfNeeded: group >> 16))
            octets.append(UInt8(truncatingIfNeeded: group >> 8))
            octets.append(UInt8(truncatingIfNeeded: group))
        }
        return Array(octets.prefix(count))
    }
}
