/// Which certificate belongs to the name that a client asks for (RFC 6066 §3).
struct ServerNames: Sendable {
    private var exact: [String: Int] = [:]
    /// `*.example.org` by what follows the star's dot: `example.org`.
    private var wildcards: [String: Int] = [:]

    /// - Parameter names: The names of each certificate, in lower case; the first certificate that has a
    ///   name keeps it.
    init(_ names: [[String]]) {
        for (index, names) in names.enumerated() {
            for name in names {
                if name.hasPrefix("*.") {
                    let parent = String(name.dropFirst(2))
                    if self.wildcards[parent] == nil { self.wildcards[parent] = index }
                } else if self.exact[name] == nil {
                    self.exact[name] = index
                }
            }
        }
    }

    /// The certificate's place; `nil` if none has the name.
    ///
    /// A star stands for one label (RFC 6125 §6.4.3).
    func certificate(for name: String) -> Int? {
        let name = name.lowercased()
        if let index = self.exact[name] { return index }
        guard let dot = name.firstIndex(of: ".") else { return nil }
        return self.wildcards[String(name[name.index(after: dot)...])]
    }
}
