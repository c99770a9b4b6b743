import PolicyKit

/// What the DNS knows of a name and of an address, and whether they belong together.
enum HelloMatch: Sendable, Equatable {
    case matches
    case differs
    /// For certain there is nothing.
    case missing
    /// The DNS did not answer, so nothing is certain.
    case unknown(String)
}

/// The look-ups of a name and of the client that gave it.
struct HelloFindings: Sendable, Equatable {
    /// The addresses of the name.
    var forward: HelloMatch
    /// The names of the address.
    var reverse: HelloMatch
}

/// Looks up both ways at once.
struct HelloLookup: Sendable {
    let resolver: any NameResolver
    let deadline: ContinuousClock.Instant

    func look(_ name: DNSName, _ client: IPAddress) async -> HelloFindings {
        guard let reversed = DNSName(reversing: client) else {
            return HelloFindings(forward: .unknown("no name"), reverse: .unknown("no name"))
        }
        let questions: [(DNSName, DNSRecordType)] = [(name, .a), (name, .aaaa), (reversed, .ptr)]
        let answers = await withTaskGroup(of: (Int, DNSAnswer).self) { group in
            for (index, (name, type)) in questions.enumerated() {
                group.addTask {
                    let answer = await self.resolver.query(name, type, deadline: self.deadline)
                    return (index, answer)
                }
            }
            var answers = [DNSAnswer](repeating: .failure(.cancelled), count: questions.count)
            for await (index, answer) in group { answers[index] = answer }
            return answers
        }
        return HelloFindings(
            forward: Self.forward(Array(answers.prefix(2)), client),
            reverse: Self.reverse(answers[2], name)
        )
    }

    /// `answers` are those to the questions for A and AAAA.
    private static func forward(_ answers: [DNSAnswer], _ client: IPAddress) -> HelloMatch {
        let addresses = answers.flatMap(\.addresses)
        if addresses.contains(where: { Self.network($0) == Self.network(client) }) {
            return .matches
        }
        for case .failure(let failure) in answers { return .unknown("HELO name: \(failure)") }
        return addresses.isEmpty ? .missing : .differs
    }

    private static func reverse(_ answer: DNSAnswer, _ name: DNSName) -> HelloMatch {
        switch answer {
        case .nxdomain, .nodata: return .missing
        case .failure(let failure): return .unknown("PTR: \(failure)")
        case .records(let records):
            let isMatch = records.contains { record in
                guard case .name(let other) = record else { return false }
                return Self.isRelated(other.text, name.text)
            }
            return isMatch ? .matches : .differs
        }
    }

    /// The /24 of an IPv4 address, the /64 of an IPv6 address.
    private static func network(_ address: IPAddress) -> IPAddress {
        address.isIPv6 ? address.clientNetwork : address.clientSite
    }

    /// Whether two names are of one domain: as far as can be told without a list of public suffixes, their last
    /// two labels are the same, or three where the last two are as short as `co.uk`.
    private static func isRelated(_ one: String, _ other: String) -> Bool {
        let labels = [one, other].map { $0.split(separator: ".") }
        guard one != other, let first = labels.first, let second = labels.last else { return true }
        let end = first.suffix(2)
        let isSuffix = end.last?.utf8.count == 2 && (end.first?.utf8.count ?? 0) <= 3
        let count = isSuffix ? 3 : 2
        return first.count >= count && second.count >= count
            && first.suffix(count) == second.suffix(count)
    }
}
