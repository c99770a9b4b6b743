import Archives
import Patterns
import PolicyKit

/// What may not be attached, and the search for it.
struct AttachmentRules: Sendable {
    /// Something that may not be attached.
    enum Finding: Sendable, Equatable {
        case name(String)
        case type(String)
        case nameInArchive(String)
        case trouble(ArchiveListing.Trouble, of: String)
    }

    /// Lower case, without dots.
    var extensions: Set<String>
    var names: [Pattern]
    var namesInArchives: [Pattern]
    var types: [Pattern]
    /// What makes an archive one that is not accepted.
    var troubles: Set<ArchiveListing.Trouble>
    /// `nil`: archives are not opened.
    var archives: ArchiveListing.Limits?

    /// The first thing that may not be there; and the names of everything that is attached.
    ///
    /// - Throws: ``PatternError`` if a pattern took too much work.
    func search(
        _ mime: MIMEMessage,
        until deadline: ContinuousClock.Instant
    ) throws(PatternError) -> (finding: Finding?, names: [String]) {
        var found: [String] = []
        if mime.stop != nil, self.troubles.contains(.damaged) {
            return (.trouble(.damaged, of: "the message"), found)
        }
        for part in mime.parts {
            let names = Self.names([part.filename, part.parameters["name"]])
            found += names
            if try Self.isMatched(part.type, by: self.types) { return (.type(part.type), found) }
            for name in names where try self.isRefused(name, self.names) {
                return (.name(name), found)
            }
            guard part.parts.isEmpty else { continue }
            let content = part.content()
            let title = names.first ?? part.type
            let embedded = EmbeddedFiles(part, content)
            if embedded.isDamaged, self.troubles.contains(.damaged) {
                return (.trouble(.damaged, of: title), found)
            }
            for file in embedded.files {
                let names = Self.names(file.names)
                found += names
                for name in names where try self.isRefused(name, self.names) {
                    return (.name(name), found)
                }
                let title = names.first ?? title
                if let finding = try self.finding(in: file.content, title, until: deadline) {
                    return (finding, found)
                }
            }
            guard !part.type.hasPrefix("text/") || !names.isEmpty else { continue }
            if let finding = try self.finding(in: content, title, until: deadline) {
                return (finding, found)
            }
        }
        return (nil, found)
    }

    /// What may not be there in a file, if it is an archive.
    private func finding(
        in content: [UInt8],
        _ title: String,
        until deadline: ContinuousClock.Instant
    ) throws(PatternError) -> Finding? {
        guard let limits = self.archives,
            let listing = ArchiveListing.of(content, limits: limits, until: deadline)
        else { return nil }
        for name in listing.names.map({ String(decoding: $0, as: UTF8.self) })
        where try self.isRefused(Self.base(name), self.namesInArchives) {
            return .nameInArchive(name)
        }
        return listing.troubles.intersection(self.troubles)
            .min { $0.rawValue < $1.rawValue }
            .map { .trouble($0, of: title) }
    }

    /// The names that a file gives itself, which need not be the same.
    private static func names(_ given: [String?]) -> [String] {
        var names: [String] = []
        for name in given.compactMap({ $0 }) {
            let base = self.base(name)
            if !base.isEmpty, !names.contains(base) { names.append(base) }
        }
        return names
    }

    /// The name without folders, control characters, and the dots and spaces at its end, which Windows drops.
    static func base(_ name: String) -> String {
        let last = name.split { $0 == "/" || $0 == "\\" }.last ?? ""
        let scalars = last.unicodeScalars.filter { scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator: false
            default: true
            }
        }
        var text = String(String.UnicodeScalarView(scalars))
        while text.last == "." || text.last == " " { text.removeLast() }
        return text
    }

    private func isRefused(_ name: String, _ patterns: [Pattern]) throws(PatternError) -> Bool {
        if let dot = name.lastIndex(of: "."),
            self.extensions.contains(name[name.index(after: dot)...].lowercased())
        {
            return true
        }
        return try Self.isMatched(name, by: patterns)
    }

    private static func isMatched(
        _ text: String,
        by patterns: [Pattern]
    ) throws(PatternError) -> Bool {
        for pattern in patterns where try pattern.occurs(in: Array(text.utf8)) { return true }
        return false
    }
}
