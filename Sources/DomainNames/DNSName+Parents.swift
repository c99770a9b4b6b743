extension DNSName {
    /// How many labels the name has; the root has none.
    package var labelCount: Int {
        self.isRoot ? 0 : self.text.utf8.count(where: { $0 == 0x2E }) + 1
    }

    /// The name and each name above it, without the root: `a.b.c`, `b.c`, `c`.
    package var selfAndParents: [DNSName] {
        guard !self.isRoot else { return [] }
        var names = [self]
        while let parent = names.last?.parent { names.append(parent) }
        return names
    }

    /// The name without its first label; `nil` if only the root is above it.
    package var parent: DNSName? {
        guard let dot = self.text.firstIndex(of: "."), !self.isRoot else { return nil }
        return DNSName(suffix: self.text[self.text.index(after: dot)...])
    }

    /// Whether the name is `other`, or is below it.
    package func isWithin(_ other: DNSName) -> Bool {
        self == other || other.isRoot || self.text.hasSuffix(".\(other.text)")
    }
}
