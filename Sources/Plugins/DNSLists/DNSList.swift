import PolicyKit

/// A list in the DNS, as a line of `dnsbl_zones`, `rhsbl_zones` or `whitelist_zones` names it:
/// `zone[=codes][*weight]`, then a colon or white space and a text.
struct DNSList: Sendable, Equatable {
    /// A file has no more lists: each costs look-ups for each client.
    static let maximumCount = 64

    let zone: DNSName
    /// Which answers count; `nil`: all in 127.0.0.0/8.
    let codes: ListCodes?
    /// What a listing adds to the sum.
    let weight: Int
    /// The operator's text about what is listed there; `nil` if the line has none.
    let text: String?

    /// A list of which all answers count.
    init(zone: DNSName) {
        self.zone = zone
        self.codes = nil
        self.weight = 1
        self.text = nil
    }

    init(_ line: ControlLine) throws {
        let specification = line.text.prefix { !": \t".contains($0) }
        let text = line.text.dropFirst(specification.count).drop { ": \t".contains($0) }
        self.text = text.isEmpty ? nil : String(text)
        let weighted = specification.split(
            separator: "*",
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        if weighted.count > 1 {
            guard let weight = Int(weighted[1]), (-1_000...1_000).contains(weight) else {
                throw line.problem(
                    "weight \(weighted[1]) is no whole number from -1000 to 1000"
                )
            }
            self.weight = weight
        } else {
            self.weight = 1
        }
        let filtered = (weighted.first ?? "").split(
            separator: "=",
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        if filtered.count > 1 {
            guard let codes = ListCodes(filtered[1]) else {
                throw line.problem(
                    "\(filtered[1]) matches no answer: write as in 127.0.0.2 or 127.0.0.[2..11;20]"
                )
            }
            self.codes = codes
        } else {
            self.codes = nil
        }
        guard let zone = filtered.first.flatMap({ DNSName(String($0)) }), !zone.isRoot else {
            throw line.problem("\(specification) does not begin with the name of a zone")
        }
        self.zone = zone
    }

    /// The lists of a file.
    ///
    /// - Throws: The problem of the first line that is wrong.
    @Sendable
    static func lists(_ lines: [ControlLine]) throws -> [DNSList] {
        if lines.count > Self.maximumCount {
            throw lines[Self.maximumCount].problem("a file has at most \(Self.maximumCount) lists")
        }
        return try lines.map { try DNSList($0) }
    }
}
