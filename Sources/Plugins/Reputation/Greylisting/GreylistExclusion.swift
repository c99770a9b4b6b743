import DomainNames
import Patterns
import PolicyKit

/// A line of `greylist_exclude` or `greylist_recipients`: clients or recipients.
enum GreylistExclusion: Sendable {
    case network(IPNetwork)
    /// The name itself, and what is below it.
    case name([UInt8])
    case pattern(Pattern)
    case address([UInt8])

    /// A client: an address, a block, a name, or an expression between slashes that its name is to match.
    @Sendable
    static func client(_ line: ControlLine) throws -> GreylistExclusion {
        let word = line.words.first ?? ""
        if let network = IPNetwork(parsing: word) { return .network(network) }
        if word.count > 2, word.hasPrefix("/"), word.hasSuffix("/") {
            do {
                return .pattern(try Pattern(String(word.dropFirst().dropLast())))
            } catch {
                throw line.problem("\(error)")
            }
        }
        guard let name = Self.canonicalName(word) else {
            throw line.problem(
                "\(word) is no address, block, host name or /regular expression/"
            )
        }
        return .name(name)
    }

    /// A recipient: an address, or a domain with or without `@` in front.
    @Sendable
    static func recipient(_ line: ControlLine) throws -> GreylistExclusion {
        let word = line.words.first ?? ""
        if word.dropFirst().dropLast().contains("@") {
            return .address(DomainSpelling.canonical(address: Array(word.utf8)))
        }
        guard let name = Self.canonicalName(word.hasPrefix("@") ? String(word.dropFirst()) : word)
        else { throw line.problem("\(word) is no address or domain") }
        return .name(name)
    }

    private static func canonicalName(_ word: String) -> [UInt8]? {
        let bare = word.hasPrefix(".") ? String(word.dropFirst()) : word
        guard let name = DNSName(octets: Array(bare.utf8)), !name.isRoot else { return nil }
        return DomainSpelling.canonical(Array(bare.utf8))
    }

    /// Whether the line means this client.
    func contains(client address: IPAddress, name: Bytes?) throws -> Bool {
        switch self {
        case .network(let network): return network.contains(address)
        case .name(let listed):
            guard let name else { return false }
            return Self.isAtOrBelow(DomainSpelling.canonical(name.octets), listed)
        case .pattern(let pattern):
            guard let name else { return false }
            return try pattern.occurs(in: name.asciiLowercased.octets)
        case .address: return false
        }
    }

    /// Whether the line means this recipient.
    func contains(_ recipient: Recipient) -> Bool {
        switch self {
        case .address(let listed):
            DomainSpelling.canonical(address: recipient.address.octets) == listed
        case .name(let listed):
            Self.isAtOrBelow(DomainSpelling.canonical(recipient.domain.octets), listed)
        case .network, .pattern: false
        }
    }

    private static func isAtOrBelow(_ name: [UInt8], _ listed: [UInt8]) -> Bool {
        name == listed
            || name.count > listed.count && name.suffix(listed.count).elementsEqual(listed)
                && name[name.count - listed.count - 1] == UInt8(ascii: ".")
    }
}
