import PolicyKit

/// What is known about where mail for a sender's domain would go.
enum FromhostResult: Sendable, Equatable {
    /// This MX host has an address that is not in an invalid network.
    case exchange(String)
    /// There is no MX, and the domain itself has such an address (RFC 5321 §5.1).
    case address
    /// The domain says that it takes no mail (RFC 7505).
    case nullExchange
    /// For certain there is no such address.
    case absent(String)
    /// The DNS did not answer, so nothing is certain.
    case unknown(String)
}

/// Looks for one address that mail for a domain could be sent to.
///
/// MX first; then both address types of the best exchange at once, then of all others at once, or
/// of the domain itself if it has no MX. The first good address ends the search.
struct FromhostSearch: Sendable {
    /// The most MX hosts whose addresses are asked for, best preference first.
    static let maximumExchanges = 20

    let resolver: any NameResolver
    let invalidNetworks: [IPNetwork]
    let deadline: ContinuousClock.Instant

    /// Whether a look-up found a good address, found none, or failed.
    private enum Finding: Sendable, Equatable {
        case good(String)
        case bad
        case unknown
    }

    func find(_ domain: DNSName) async -> FromhostResult {
        switch await self.resolver.query(domain, .mx, deadline: self.deadline) {
        case .records(let records):
            return await self.find(domain, exchanges: records)
        case .nodata:
            return await self.findAddress(domain)
        case .nxdomain:
            return .absent("\(domain) does not exist")
        case .failure(let failure):
            return .unknown("MX of \(domain): \(failure)")
        }
    }

    private func findAddress(_ domain: DNSName) async -> FromhostResult {
        switch await self.anyGood([domain]) {
        case .good: .address
        case .bad: .absent("no valid MX or A for \(domain)")
        case .unknown: .unknown("A of \(domain): no answer")
        }
    }

    private func find(_ domain: DNSName, exchanges records: [DNSRecord]) async -> FromhostResult {
        var exchanges: [(preference: UInt16, name: DNSName)] = []
        for case .mx(let preference, let name) in records {
            exchanges.append((preference, name))
        }
        if records.count == 1, exchanges.first?.name.isRoot == true { return .nullExchange }
        exchanges.removeAll { $0.name.isRoot }
        exchanges.sort { $0.preference < $1.preference }
        let names = exchanges.prefix(Self.maximumExchanges).map(\.name)
        var isUnknown = false
        for batch in [names.prefix(1), names.dropFirst()] where !batch.isEmpty {
            switch await self.anyGood(Array(batch)) {
            case .good(let name): return .exchange(name)
            case .unknown: isUnknown = true
            case .bad: break
            }
        }
        return isUnknown
            ? .unknown("A of an MX of \(domain): no answer") : .absent("invalid MX for \(domain)")
    }

    /// Asks for A and AAAA of all names at once.
    private func anyGood(_ names: [DNSName]) async -> Finding {
        await withTaskGroup(of: Finding.self) { group in
            for name in names {
                if let address = IPAddress(parsing: name.text) {  // an IP in an MX record
                    guard self.isValid(address) else { continue }
                    group.cancelAll()
                    return .good(name.text)
                }
                for type in [DNSRecordType.a, .aaaa] {
                    group.addTask { await self.look(up: name, type) }
                }
            }
            var isUnknown = false
            for await finding in group {
                switch finding {
                case .good:
                    group.cancelAll()
                    return finding
                case .unknown: isUnknown = true
                case .bad: break
                }
            }
            return isUnknown ? .unknown : .bad
        }
    }

    private func look(up name: DNSName, _ type: DNSRecordType) async -> Finding {
        switch await self.resolver.query(name, type, deadline: self.deadline) {
        case .records(let records):
            self.hasValidAddress(records)
                ? .good(name.text) : .bad
        case .nodata, .nxdomain: .bad
        case .failure: .unknown
        }
    }

    private func hasValidAddress(_ records: [DNSRecord]) -> Bool {
        records.contains { record in
            if case .address(let address) = record { self.isValid(address) } else { false }
        }
    }

    private func isValid(_ address: IPAddress) -> Bool {
        !self.invalidNetworks.contains { $0.contains(address) }
    }
}
