import PolicyKit

/// What lists may say something about.
enum ListSubject: Sendable, Hashable {
    /// A client (RFC 5782 §2.1, §2.4).
    case address(IPAddress)
    /// A domain (RFC 5782 §3).
    case domain(DNSName)

    /// The name to look up; `nil` if it would be too long.
    func name(under zone: DNSName) -> DNSName? {
        switch self {
        case .address(let address): DNSName(reversing: address, under: zone)
        case .domain(let domain): DNSName("\(domain.text).\(zone.text)")
        }
    }

    /// The name that a list must not have (RFC 5782 §5): one that does lists everything.
    func control(under zone: DNSName) -> DNSName? {
        switch self {
        case .address(let address):
            IPAddress(parsing: address.isIPv6 ? "::ffff:127.0.0.1" : "127.0.0.1", mapped: .keep)
                .flatMap { DNSName(reversing: $0, under: zone) }
        case .domain: DNSName("invalid.\(zone.text)")
        }
    }
}

extension ListSubject: CustomStringConvertible {
    var description: String {
        switch self {
        case .address(let address): "\(address)"
        case .domain(let domain): "\(domain)"
        }
    }
}

/// What a list says about a subject.
enum ListFinding: Sendable, Equatable {
    /// It is listed: the answers that count, and the list's own text.
    case listed([IPAddress], text: String?)
    case absent
    /// Nothing may be concluded, and why.
    case unusable(String)
}

/// A list's answer about one subject.
struct ListAnswer: Sendable {
    let list: DNSList
    let subject: ListSubject
    let finding: ListFinding
}

/// Asks lists, all of them at once.
struct ListLookup: Sendable {
    /// Answers by which lists say that they do not answer: to a public resolver, to a client that asks
    /// too much, to a name that is no address.
    private static let refusals = ListCodes("127.255.255.[0..255]")
    private static let listings = ListCodes("127.[0..255].[0..255].[0..255]")

    let resolver: any NameResolver
    let deadline: ContinuousClock.Instant

    /// What each list says about each subject, in the order of `lists`.
    func ask(_ lists: [DNSList], about subjects: [ListSubject]) async -> [ListAnswer] {
        let pairs = lists.flatMap { list in subjects.map { (list, $0) } }
        return await withTaskGroup(of: (Int, ListAnswer).self) { group in
            for (index, (list, subject)) in pairs.enumerated() {
                group.addTask {
                    let finding = await self.finding(list, subject)
                    return (index, ListAnswer(list: list, subject: subject, finding: finding))
                }
            }
            var answers: [(index: Int, answer: ListAnswer)] = []
            for await answer in group { answers.append(answer) }
            return answers.sorted { $0.index < $1.index }.map(\.answer)
        }
    }

    private func finding(_ list: DNSList, _ subject: ListSubject) async -> ListFinding {
        guard let name = subject.name(under: list.zone) else { return .absent }
        let answer = await self.query(name, .a)
        switch answer {
        case .nxdomain, .nodata: return .absent
        case .failure(let failure): return .unusable("\(failure)")
        case .records: break
        }
        let addresses = answer.addresses
        if let refusal = addresses.first(where: { Self.refusals?.contains($0) == true }) {
            return .unusable("refuses this server's questions with \(refusal)")
        }
        let codes = addresses.filter { Self.listings?.contains($0) == true }
        guard !codes.isEmpty else {
            return .unusable("answers with \(addresses.first.map { "\($0)" } ?? "no address")")
        }
        let counted = codes.filter { list.codes?.contains($0) ?? true }
        guard !counted.isEmpty else { return .absent }
        if await self.listsEverything(list, subject) { return .unusable("lists everything") }
        return .listed(counted, text: list.text == nil ? await self.text(name) : nil)
    }

    /// Whether a list has what no list may have: its domain lapsed, or it ended.
    private func listsEverything(_ list: DNSList, _ subject: ListSubject) async -> Bool {
        guard let name = subject.control(under: list.zone) else { return false }
        if case .records = await self.query(name, .a) { return true }
        return false
    }

    private func text(_ name: DNSName) async -> String? {
        guard case .records(let records) = await self.query(name, .txt) else { return nil }
        for case .text(let octets) in records where !octets.isEmpty {
            return String(decoding: octets.prefix(400), as: UTF8.self)
        }
        return nil
    }

    private func query(_ name: DNSName, _ type: DNSRecordType) async -> DNSAnswer {
        await self.resolver.query(name, type, deadline: self.deadline)
    }
}
