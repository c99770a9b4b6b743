package import DomainNames

/// A list of the names below which anyone may register a name, in the form of publicsuffix.org: one rule a line,
/// `com`, `*.ck` or `!www.ck`.
///
/// A name that no rule fits has its last label as its suffix. Labels that are not ASCII are A-labels here
/// (RFC 5890 §2.3.2.1).
package struct PublicSuffixList: Sendable {
    /// The most octets of a file.
    package static let maximumOctets = 16_777_216

    private enum Rule {
        /// The name is a suffix.
        case exact
        /// Each name directly below it is one.
        case wildcard
        /// The name is none, although a wildcard fits.
        case exception
    }

    private var exact: Set<String> = []
    private var wildcards: Set<String> = []
    private var exceptions: Set<String> = []

    /// How many rules there are.
    package var count: Int { self.exact.count + self.wildcards.count + self.exceptions.count }

    /// A list without rules: each last label is a suffix.
    package init() {}

    /// Reads the text of a list; a line that is no rule is left out.
    ///
    /// A rule is the line's first word; lines that begin with `//` are comments.
    package init(_ octets: [UInt8]) {
        for line in octets.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }) {
            let rest = line.drop { $0 == 0x20 || $0 == 0x09 }
            let word = rest.prefix { $0 != 0x20 && $0 != 0x09 }
            guard !word.starts(with: [0x2F, 0x2F]) else { continue }
            self.add(word)
        }
    }

    private mutating func add(_ word: ArraySlice<UInt8>) {
        var name = word
        var rule = Rule.exact
        if name.first == UInt8(ascii: "!") {
            rule = .exception
            name = name.dropFirst()
        } else if name.starts(with: [0x2A, 0x2E]) {
            rule = .wildcard
            name = name.dropFirst(2)
        }
        guard let name = DNSName(octets: Array(name)), !name.isRoot else { return }
        switch rule {
        case .exact: self.exact.insert(name.text)
        case .wildcard: self.wildcards.insert(name.text)
        case .exception: self.exceptions.insert(name.text)
        }
    }

    /// Whether the list says something about the last label of a name: an empty list takes all but numbers.
    package func knowsTopLevel(of name: DNSName) -> Bool {
        guard let last = name.selfAndParents.last?.text else { return false }
        if self.count > 0 { return self.exact.contains(last) || self.wildcards.contains(last) }
        return last.utf8.count >= 2 && !last.utf8.allSatisfy { 0x30...0x39 ~= $0 }
    }

    /// The suffix that a name is, or is below of.
    package func suffix(of name: DNSName) -> DNSName {
        let names = name.selfAndParents
        for (index, candidate) in names.enumerated() {
            if self.exceptions.contains(candidate.text), index + 1 < names.count {
                return names[index + 1]
            }
            if self.exact.contains(candidate.text) { return candidate }
            if index + 1 < names.count, self.wildcards.contains(names[index + 1].text) {
                return candidate
            }
        }
        return names.last ?? name
    }

    /// The name that was registered: the suffix and one label more.
    ///
    /// - Returns: `nil` if the name is a suffix itself, or the root.
    package func registeredDomain(of name: DNSName) -> DNSName? {
        let suffix = self.suffix(of: name)
        let names = name.selfAndParents
        guard let index = names.firstIndex(of: suffix), index > 0 else { return nil }
        return names[index - 1]
    }
}
