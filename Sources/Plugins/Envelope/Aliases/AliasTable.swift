import DomainNames
import Octets
import PolicyKit

/// An address of the envelope while aliases are looked up.
struct AliasAddress: Sendable, Equatable {
    /// Without the quotes it may have.
    let local: [UInt8]
    let domain: [UInt8]

    /// What lines are compared with: the local part in lower case, the domain in its one spelling.
    var key: [UInt8] {
        self.local.map(\.lowerCased) + [UInt8(ascii: "@")] + DomainSpelling.canonical(self.domain)
    }

    /// As it stands between `<` and `>`: quoted where RFC 5321 §4.1.2 wants it.
    var text: Bytes {
        Bytes(octets: Self.quoted(self.local) + [UInt8(ascii: "@")] + self.domain)
    }

    private static func quoted(_ local: [UInt8]) -> [UInt8] {
        if Self.isDotString(local) { return local }
        let quote = UInt8(ascii: "\"")
        let backslash = UInt8(ascii: "\\")
        return [quote]
            + local.flatMap { $0 == quote || $0 == backslash ? [backslash, $0] : [$0] } + [quote]
    }

    /// Whether it needs no quotes (RFC 5321 §4.1.2; RFC 6531 §3.3 for octets above 127).
    static func isDotString(_ octets: [UInt8]) -> Bool {
        octets.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy {
            !$0.isEmpty
                && $0.allSatisfy { octet in
                    octet.isLetterOrDigit || octet >= 0x80
                        || "!#$%&'*+-/=?^_`{|}~".utf8.contains(octet)
                }
        }
    }
}

/// What becomes of a recipient.
enum AliasExpansion: Sendable, Equatable {
    /// No line is about it.
    case none
    /// The addresses that get the message in its place: one at least, each once, in the order of the file.
    case targets([AliasAddress])
    /// There is no telling; why, for the log.
    case failed(String)
}

/// How addresses are looked up in an ``AliasTable``.
struct AliasRules: Sendable {
    /// What stands between a local part and its detail, as `+`; `nil`: local parts have none.
    var delimiter: UInt8?
    /// Whether targets get the detail of a recipient whose line was found without it.
    var keepsDetail = false
}

/// The lines of a file of aliases.
struct AliasTable: Sendable {
    /// The most lines that may follow from each other.
    static let maximumDepth = 10
    /// The most targets of a recipient.
    static let maximumTargets = 100
    /// The most addresses that are looked at for a recipient.
    static let maximumLookups = 1_000
    /// The longest local part (RFC 5321 §4.5.3.1.1).
    static let maximumLocalOctets = 64

    private struct Target: Sendable {
        /// `nil`: the recipient's, as in `@example.net`.
        let local: [UInt8]?
        /// `nil`: the recipient's, as in `jo`.
        let domain: [UInt8]?
    }

    private var addresses: [[UInt8]: [Target]] = [:]
    private var locals: [[UInt8]: [Target]] = [:]
    private var domains: [[UInt8]: [Target]] = [:]

    /// - Throws: The problem of the first line that cannot be read, or whose name was there before.
    @Sendable
    init(_ lines: [ControlLine]) throws {
        for line in lines {
            let (name, words) = Self.parts(Array(line.text.utf8))
            let text = String(decoding: name, as: UTF8.self)
            let targets = try Self.targets(words, of: text, line)
            let at = name.lastIndex(of: UInt8(ascii: "@"))
            let local = (at.map { Array(name[..<$0]) } ?? name).map(\.lowerCased)
            var domain: [UInt8]?
            if let at {
                let octets = Array(name[(at + 1)...])
                let isLiteral = octets.first == UInt8(ascii: "[")
                guard isLiteral || Self.domain(octets) != nil else {
                    throw line.problem("\(text) has no domain that mail could be for")
                }
                domain = DomainSpelling.canonical(octets)
            }
            guard local.isEmpty && domain != nil || AliasAddress.isDotString(local) else {
                throw line.problem(
                    "\(text) is no address, @domain or local part (without quotes), as in "
                        + "info@example.com: jo@example.com"
                )
            }
            let old: [Target]?
            switch (local.isEmpty, domain) {
            case (true, let domain?): old = self.domains.updateValue(targets, forKey: domain)
            case (_, let domain?):
                let key = local + [UInt8(ascii: "@")] + domain
                old = self.addresses.updateValue(targets, forKey: key)
            case (_, nil): old = self.locals.updateValue(targets, forKey: local)
            }
            guard old == nil else {
                throw line.problem("\(text) stands there twice: write its targets into one line")
            }
        }
    }

    // MARK: Reading

    /// A line's name, and the words behind it: commas, white space and one colon separate them.
    private static func parts(_ text: [UInt8]) -> (name: [UInt8], words: [[UInt8]]) {
        var depth = 0
        let end = text.firstIndex { octet in
            switch octet {
            case UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: ":"): return depth <= 0
            case 0x20, 0x09: return true
            default: break
            }
            return false
        }
        let name = Array(text[..<(end ?? text.endIndex)])
        var rest = text[(end ?? text.endIndex)...].drop { $0 == 0x20 || $0 == 0x09 }
        if rest.first == UInt8(ascii: ":") { rest = rest.dropFirst() }
        let words = rest.split { $0 == 0x20 || $0 == 0x09 || $0 == UInt8(ascii: ",") }
            .prefix { $0.first != UInt8(ascii: "#") }
        return (name, words.map { Array($0) })
    }

    private static func targets(
        _ words: [[UInt8]],
        of name: String,
        _ line: ControlLine
    ) throws -> [Target] {
        guard !words.isEmpty else {
            throw line.problem(
                "\(name) has no target: name one, or refuse the recipient with rcpt_map, or drop its "
                    + "mail with queue/discard"
            )
        }
        guard words.count <= Self.maximumTargets else {
            throw line.problem(
                "\(name) has more than \(Self.maximumTargets) targets: use a list server"
            )
        }
        return try words.map { word in
            let text = String(decoding: word, as: UTF8.self)
            if let first = word.first, "/|\":".utf8.contains(first) {
                throw line.problem(
                    "target \(text) is no address: to drop mail use queue/discard, to refuse it rcpt_map, "
                        + "to give it to a program queue/command"
                )
            }
            let at = word.firstIndex(of: UInt8(ascii: "@"))
            let local = Array(word[..<(at ?? word.endIndex)])
            let isLocal =
                AliasAddress.isDotString(local) && local.count <= Self.maximumLocalOctets
                && local.allSatisfy { $0 < 0x80 }
            let domain = at.flatMap { Self.domain(Array(word[($0 + 1)...])) }
            guard isLocal || local.isEmpty && at != nil, (at == nil) == (domain == nil) else {
                throw line.problem(
                    "target \(text) is no address: write jo@example.com, or @example.com for the same "
                        + "local part there, or jo for the same domain"
                )
            }
            return Target(local: local.isEmpty ? nil : local, domain: domain)
        }
    }

    /// The A-labels of a domain that may stand in an address (RFC 5321 §4.1.2); `nil` for others.
    private static func domain(_ octets: [UInt8]) -> [UInt8]? {
        guard octets.last != UInt8(ascii: "."), let name = DNSName(octets: octets), !name.isRoot
        else { return nil }
        let text = Array(name.text.utf8)
        let isDomain = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
            .allSatisfy { label in
                label.first?.isLetterOrDigit == true && label.last?.isLetterOrDigit == true
                    && !label.contains(UInt8(ascii: "_"))
            }
        return isDomain ? text : nil
    }

    // MARK: Looking up

    /// The addresses that get the message in the place of a recipient.
    ///
    /// - Parameters:
    ///   - address: The recipient.
    ///   - rules: How addresses are looked up.
    ///   - isOurs: Whether lines without a domain are about this domain, which is in its canonical spelling.
    /// - Returns: What becomes of it.
    func expand(
        _ address: AliasAddress,
        _ rules: AliasRules,
        isOurs: ([UInt8]) -> Bool
    ) -> AliasExpansion {
        guard self.line(of: address, rules, isOurs) != nil else { return .none }
        var walk = Walk()
        if let problem = self.walk(address, rules, isOurs, &walk) { return .failed(problem) }
        return .targets(walk.targets)
    }

    /// What was met so far on the way from a recipient to its targets.
    private struct Walk {
        /// The addresses whose lines led to where the walk is.
        var path: [[UInt8]] = []
        var seen: Set<[UInt8]> = []
        var targets: [AliasAddress] = []
    }

    /// Adds the targets of `address`.
    ///
    /// - Returns: Why that cannot be done.
    private func walk(
        _ address: AliasAddress,
        _ rules: AliasRules,
        _ isOurs: ([UInt8]) -> Bool,
        _ walk: inout Walk
    ) -> String? {
        let key = address.key
        guard walk.seen.insert(key).inserted else {
            return walk.path.contains(key) ? "\(address.text) leads back to itself" : nil
        }
        guard walk.seen.count <= Self.maximumLookups else {
            return "more than \(Self.maximumLookups) addresses"
        }
        guard let line = self.line(of: address, rules, isOurs) else {
            return Self.add(address, &walk)
        }
        guard walk.path.count < Self.maximumDepth else {
            return "more than \(Self.maximumDepth) lines follow from each other"
        }
        walk.path.append(key)
        defer { walk.path.removeLast() }
        var isItself = false
        for target in line.targets {
            let next = AliasAddress(
                local: target.local.map { $0 + line.detail } ?? address.local,
                domain: target.domain ?? address.domain
            )
            if next.local.count > Self.maximumLocalOctets {
                return "the local part of \(next.text) is too long"
            }
            if next.key != key {
                if let problem = self.walk(next, rules, isOurs, &walk) { return problem }
            } else if !isItself {
                isItself = true
                if let problem = Self.add(address, &walk) { return problem }
            }
        }
        return nil
    }

    private static func add(_ address: AliasAddress, _ walk: inout Walk) -> String? {
        walk.targets.append(address)
        return walk.targets.count > Self.maximumTargets
            ? "more than \(Self.maximumTargets) targets" : nil
    }

    /// The first line about an address, and the detail that its targets get, with the delimiter.
    private func line(
        of address: AliasAddress,
        _ rules: AliasRules,
        _ isOurs: ([UInt8]) -> Bool
    ) -> (targets: [Target], detail: [UInt8])? {
        let local = address.local.map(\.lowerCased)
        let domain = DomainSpelling.canonical(address.domain)
        // A local part that begins with the delimiter is no detail of nothing.
        let end = rules.delimiter.flatMap { local.dropFirst().firstIndex(of: $0) }
        let detail = rules.keepsDetail ? end.map { Array(address.local[$0...]) } ?? [] : []
        let behind = [UInt8(ascii: "@")] + domain
        if let targets = self.addresses[local + behind] { return (targets, []) }
        if let end, let targets = self.addresses[local[..<end] + behind] {
            return (targets, detail)
        }
        if !self.locals.isEmpty, isOurs(domain) {
            if let targets = self.locals[local] { return (targets, []) }
            if let end, let targets = self.locals[Array(local[..<end])] { return (targets, detail) }
        }
        return self.domains[domain].map { ($0, []) }
    }
}
