import Glibc

/// Reads one control file with everything that it includes.
///
/// Empty lines and lines that begin with `#` are dropped, white space is trimmed at both ends, `#`
/// later in a line is data, CRLF line ends are fine. `$include` inserts a file, or the regular files
/// of a folder in sorted order, in place. A file whose name ends in `.cdb` is a map, and its keys are
/// the lines.
struct ControlFileReader {
    /// How deep `$include` may nest.
    static let maximumDepth = 16

    /// Every path that was looked at, with what was there: when none changed, nothing did.
    private(set) var stamps: [(path: String, stamp: FileStamp?)] = []
    private(set) var errors: [ConfigurationError] = []
    private(set) var lines: [FileLine] = []
    /// Whether the file itself was found.
    private(set) var isPresent = false
    private let directories: [String]
    /// The files that are being read, outermost first.
    private var open: [FileStamp] = []

    /// - Parameters:
    ///   - name: Looked for in `directories`, best first; an absolute path is taken as it is.
    ///   - directories: A name never leaves them: `..` is refused.
    init(_ name: String, directories: [String]) {
        self.directories = directories
        guard let found = self.find(name) else { return }
        self.isPresent = true
        self.read(found.path, from: nil)
    }

    private mutating func find(_ name: String) -> (path: String, stamp: FileStamp)? {
        let candidates =
            name.hasPrefix("/") ? [name] : self.directories.map { "\($0)/\(name)" }
        for path in candidates {
            let stamp = FileStamp(path: path)
            self.stamps.append((path, stamp))
            if let stamp { return (path, stamp) }
        }
        return nil
    }

    private mutating func fail(
        _ file: String,
        _ place: FileLine?,
        _ problem: String,
        remedy: String
    ) {
        self.errors.append(
            ConfigurationError(
                file: place?.file ?? file,
                line: place?.line,
                key: nil,
                problem: problem,
                remedy: remedy
            )
        )
    }

    private mutating func read(_ path: String, from place: FileLine?) {
        let octets: [UInt8]
        let stamp: FileStamp
        do throws(FileOctets.Failure) {
            (octets, stamp) = try FileOctets.read(path)
        } catch {
            self.fail(path, place, "\(path): \(error.reason)", remedy: "make it a readable file")
            return
        }
        let isOpen = self.open.contains { $0.inode == stamp.inode && $0.device == stamp.device }
        guard !isOpen, self.open.count < Self.maximumDepth else {
            let problem = isOpen ? "\(path) includes itself" : "includes nest too deeply"
            self.fail(path, place, problem, remedy: "remove this $include")
            return
        }
        self.open.append(stamp)
        defer { self.open.removeLast() }
        var number = 0
        if path.hasSuffix(".cdb") {
            guard let database = ConstantDatabase(octets) else {
                let remedy = "make it anew, under another name, and rename it"
                return self.fail(path, place, "\(path): is no CDB file", remedy: remedy)
            }
            for key in database.keys {
                number += 1
                self.takeKey(key, file: path, record: number)
            }
            return
        }
        for raw in octets.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            self.take(raw, file: path, line: number)
        }
    }

    /// A key of a map is a line that needs no trimming and holds no comment.
    private mutating func takeKey(_ key: ArraySlice<UInt8>, file: String, record: Int) {
        guard let text = String(validating: key, as: UTF8.self) else {
            let place = FileLine(text: "", file: file, line: record)
            return self.fail(file, place, "this key is not UTF-8", remedy: "make the map anew")
        }
        self.lines.append(FileLine(text: text, file: file, line: record))
    }

    private mutating func take(_ raw: ArraySlice<UInt8>, file: String, line: Int) {
        var raw = raw
        if line == 1, raw.starts(with: [0xef, 0xbb, 0xbf]) { raw = raw.dropFirst(3) }
        let entry = Self.trimmed(raw)
        guard let first = entry.first, first != UInt8(ascii: "#") else { return }
        guard let text = String(validating: entry, as: UTF8.self) else {
            let place = FileLine(text: "", file: file, line: line)
            self.fail(file, place, "this line is not UTF-8", remedy: "save the file as UTF-8")
            return
        }
        let entryLine = FileLine(text: text, file: file, line: line)
        let words = text.split(maxSplits: 1) { $0 == " " || $0 == "\t" }
        if words.first == "$include" {
            self.include(words.count == 2 ? String(words[1]) : "", from: entryLine)
        } else {
            self.lines.append(entryLine)
        }
    }

    private static func trimmed(_ octets: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        func isBlank(_ octet: UInt8) -> Bool { octet == 0x20 || (0x09...0x0d).contains(octet) }
        let start = octets.drop(while: isBlank)
        let end = start.lastIndex { !isBlank($0) }
        return start[..<(end.map { $0 + 1 } ?? start.startIndex)]
    }

    private mutating func include(_ name: String, from place: FileLine) {
        guard !name.isEmpty, !name.split(separator: "/").contains("..") else {
            let problem = name.isEmpty ? "$include without a name" : "$include \(name) has .. in it"
            self.fail(
                place.file,
                place,
                problem,
                remedy: "name a control file, or an absolute path"
            )
            return
        }
        guard let found = self.find(name) else {
            let folders =
                name.hasPrefix("/") ? "" : " in \(self.directories.joined(separator: ", "))"
            self.fail(
                place.file,
                place,
                "$include \(name): no such file\(folders)",
                remedy: "make the file, or remove the line"
            )
            return
        }
        guard found.stamp.isDirectory else {
            self.read(found.path, from: place)
            return
        }
        do throws(FileOctets.Failure) {
            for file in try FileOctets.regularFiles(in: found.path) {
                let path = "\(found.path)/\(file)"
                self.stamps.append((path, FileStamp(path: path)))
                self.read(path, from: place)
            }
        } catch {
            self.fail(
                found.path,
                place,
                "\(found.path): \(error.reason)",
                remedy: "make it readable"
            )
        }
    }
}
