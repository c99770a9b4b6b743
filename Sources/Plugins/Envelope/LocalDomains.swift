import DomainNames
import PolicyKit

/// The domains for which this server takes mail: the control files `me`, `rcpthosts`, `morercpthosts` and
/// `morercpthosts.cdb`.
struct LocalDomainFiles: Sendable {
    private let files: [ControlFile<LocalDomains>]

    /// - Throws: What is wrong in a file.
    init(_ configuration: PluginConfiguration) throws {
        self.files = [
            try configuration.controlFile("me", parse: LocalDomains.init),
            try configuration.controlFile("rcpthosts", parse: LocalDomains.checked),
            try configuration.controlFile("morercpthosts", parse: LocalDomains.checked),
            try configuration.controlFile("morercpthosts.cdb", parse: LocalDomains.init),
        ]
    }

    /// Whether `domain`, in its canonical spelling, is one of them.
    func contains<Stage>(_ domain: [UInt8], _ event: HookEvent<Stage>) -> Bool {
        self.files.contains { event.value(of: $0).contains(domain) }
    }
}

/// The domains of a control file: `example.com` alone, `.example.com` for everything below.
struct LocalDomains: Sendable {
    private let names: Set<[UInt8]>
    private let suffixes: Set<[UInt8]>

    @Sendable
    init(_ lines: [ControlLine]) { self.init(words: lines.compactMap(\.words.first)) }

    init(words: [String]) {
        let names = words.map { word in
            word.hasPrefix(".")
                ? Array(".".utf8) + DomainSpelling.canonical(Array(word.utf8.dropFirst()))
                : DomainSpelling.canonical(Array(word.utf8))
        }
        self.names = Set(names.filter { $0.first != UInt8(ascii: ".") })
        self.suffixes = Set(names.filter { $0.first == UInt8(ascii: ".") })
    }

    /// The domains of `lines`.
    ///
    /// - Throws: The problem of the first line that could match no domain, or not all of it.
    @Sendable
    static func checked(_ lines: [ControlLine]) throws -> Self {
        for line in lines {
            let words = line.words
            guard let word = words.first else { continue }
            guard words.count == 1 || words[1].hasPrefix("#") else {
                throw line.problem("only \(word) would count: write one domain a line")
            }
            guard Self.isDomain(word) else {
                throw line.problem(
                    "\(word) matches no domain: write example.com, or .example.com for all below it"
                )
            }
        }
        return Self(lines)
    }

    /// Whether `word` can match a domain.
    static func isDomain(_ word: String) -> Bool {
        let name = word.hasPrefix(".") ? word.dropFirst() : word[...]
        let isOdd = name.contains { "@*?/\\^$,;:".contains($0) } && !name.hasPrefix("[")
        return !isOdd && !name.isEmpty && !name.hasSuffix(".") && !name.contains("..")
    }

    /// Whether `domain`, in its canonical spelling, is one of them.
    func contains(_ domain: [UInt8]) -> Bool {
        if self.names.contains(domain) { return true }
        if self.suffixes.isEmpty { return false }
        return domain.indices.contains { index in
            domain[index] == UInt8(ascii: ".") && self.suffixes.contains(Array(domain[index...]))
        }
    }
}
