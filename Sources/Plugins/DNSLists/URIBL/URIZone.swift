import PolicyKit

/// A list of hosts in URIs, as a line of `uribl_zones` names it: `zone [mask,mask…] [action]`.
struct URIZone: Sendable {
    /// What is done about a host that is listed, the mildest first.
    enum Action: String, CaseIterable, Sendable {
        case log
        case addHeader = "add-header"
        case denysoft
        case deny
    }

    /// A file has no more lists: each costs a look-up for each host.
    static let maximumCount = 16
    /// All bits but those of 127.
    private static let wholeMask: UInt32 = 0x00FF_FFFF

    let list: DNSList
    /// The bits of an answer of which one must be set.
    let mask: UInt32
    /// `nil`: what the argument `action` says.
    let action: Action?

    init(_ line: ControlLine) throws {
        let words = line.words
        guard let zone = words.first.flatMap({ DNSName($0) }), !zone.isRoot else {
            throw line.problem("\(line.text) does not begin with the name of a zone")
        }
        self.list = DNSList(zone: zone)
        var rest = words.dropFirst()
        // qpsmtpd wants a mask before an action; an action alone can only be one.
        if let word = rest.first, Action(rawValue: word) == nil {
            var mask: UInt32 = 0
            for number in word.split(separator: ",", omittingEmptySubsequences: false) {
                guard let number = Int32(number) else {
                    throw line.problem("mask \(word) is no list of whole numbers, as in 2,8")
                }
                mask |= number < 0 ? Self.wholeMask : UInt32(number)
            }
            self.mask = mask == 0 ? Self.wholeMask : mask
            rest = rest.dropFirst()
        } else {
            self.mask = Self.wholeMask
        }
        guard let word = rest.first else {
            self.action = nil
            return
        }
        guard let action = Action(rawValue: word.lowercased()), rest.count == 1 else {
            throw line.problem(
                "\(rest.joined(separator: " ")) is none of add-header, deny, denysoft, log"
            )
        }
        self.action = action
    }

    /// The lists of a file.
    ///
    /// - Throws: The problem of the first line that is wrong.
    @Sendable
    static func zones(_ lines: [ControlLine]) throws -> [URIZone] {
        if lines.count > Self.maximumCount {
            throw lines[Self.maximumCount].problem("a file has at most \(Self.maximumCount) lists")
        }
        return try lines.map { try URIZone($0) }
    }

    /// Whether an answer has one of the bits.
    func counts(_ code: IPAddress) -> Bool {
        code.octets.reduce(0) { $0 << 8 | UInt32($1) } & self.mask != 0
    }
}
