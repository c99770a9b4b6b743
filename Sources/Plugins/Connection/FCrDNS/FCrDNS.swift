package import PolicyKit

/// Gives a client the name that its address has and that leads back to it, and may refuse one without.
///
/// See README.md.
package struct FCrDNS: ConnectHook {
    private enum Match: String, CaseIterable {
        case exact
        case network
    }

    package static let name = "fcrdns"

    /// Names of one address that are looked at.
    static let maximumNames = 10

    private let match: Match
    private let time: Duration
    private let resolver: any NameResolver
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.match = configuration.argument(
            "match",
            as: ArgumentType<Match>.choice,
            default: .exact
        )
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100) ... .seconds(60)),
            default: .seconds(5)
        )
        self.refusal = configuration.refusal(.tolerate)
        self.resolver = try configuration.resolver()
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer {
        let address = try event.clientAddress()
        if event.isImmune { return event.skip("immune") }
        let search = ReverseSearch(
            resolver: self.resolver,
            deadline: .now + min(self.time, event.workingTime)
        )
        let found = await search.names(of: address)
        event.notes[.iprev] = found.word(isNetworkEnough: self.match == .network)
        switch found {
        case .unknown(let reason): return event.error(reason)
        case .confirmed(let name):
            event.setClientName(name.text)
            event.adjustKarma(by: 1)
            return event.pass("\(name)")

        case .near(let name) where self.match == .network:
            event.setClientName(name.text)
            return event.pass("\(name), in the same network")

        case .near(let name): return self.fail("\(name) leads to another address", event)
        case .mismatch(let name): return self.fail("\(name) does not lead back", event)
        case .nameless: return self.fail("no name", event)
        }
    }

    private func fail(_ reason: String, _ event: ConnectEvent) -> Answer {
        event.adjustKarma(by: -1)
        event.info(reason)
        return event.refuse(
            self.refusal,
            "Client host \(event.session.client.ip) has no name that leads back to it",
            detail: "7.25"  // RFC 7372 §3.3
        )
    }
}

/// What the names of an address are worth.
enum ReverseResult: Sendable, Equatable {
    /// This name has the address.
    case confirmed(DNSName)
    /// This name has an address of the same /24 or /64.
    case near(DNSName)
    /// It has names, this one first, which have other addresses or none.
    case mismatch(DNSName)
    /// It has no name.
    case nameless
    /// The DNS did not answer.
    case unknown(String)

    /// The result by the name of RFC 8601 §2.7.3.
    func word(isNetworkEnough: Bool) -> String {
        switch self {
        case .confirmed: "pass"
        case .near: isNetworkEnough ? "pass" : "fail"
        case .mismatch: "fail"
        case .nameless: "permerror"
        case .unknown: "temperror"
        }
    }
}

/// Looks for a name of an address that leads back to it (RFC 8601 §3).
struct ReverseSearch: Sendable {
    let resolver: any NameResolver
    let deadline: ContinuousClock.Instant

    private enum Step: Sendable, Equatable {
        case same
        case near
        case other
        case failed(String)
    }

    func names(of address: IPAddress) async -> ReverseResult {
        guard let reversed = DNSName(reversing: address) else { return .nameless }
        var names: [DNSName] = []
        switch await self.resolver.query(reversed, .ptr, deadline: self.deadline) {
        case .nxdomain, .nodata: return .nameless
        case .failure(let failure): return .unknown("PTR: \(failure)")
        case .records(let records):
            for case .name(let name) in records where !names.contains(name) { names.append(name) }
        }
        names = Array(names.filter { !$0.isRoot }.prefix(FCrDNS.maximumNames))
        guard let first = names.first else { return .nameless }
        let steps = await self.steps(names, to: address)
        if let index = steps.firstIndex(of: .same) { return .confirmed(names[index]) }
        if let index = steps.firstIndex(of: .near) { return .near(names[index]) }
        for case .failed(let reason) in steps { return .unknown(reason) }
        return .mismatch(first)
    }

    /// Where each name leads, all asked for at once.
    private func steps(_ names: [DNSName], to address: IPAddress) async -> [Step] {
        await withTaskGroup(of: (Int, Step).self) { group in
            for (index, name) in names.enumerated() {
                group.addTask {
                    let step = await self.step(name, to: address)
                    return (index, step)
                }
            }
            var steps = [Step](repeating: .other, count: names.count)
            for await (index, step) in group { steps[index] = step }
            return steps
        }
    }

    private func step(_ name: DNSName, to address: IPAddress) async -> Step {
        let type: DNSRecordType = address.isIPv6 ? .aaaa : .a
        let answer = await self.resolver.query(name, type, deadline: self.deadline)
        if case .failure(let failure) = answer { return .failed("\(name): \(failure)") }
        if answer.addresses.contains(address) { return .same }
        let network = Self.network(address)
        return answer.addresses.contains { Self.network($0) == network } ? .near : .other
    }

    /// The /24 of an IPv4 address, the /64 of an IPv6 address.
    private static func network(_ address: IPAddress) -> IPAddress {
        address.isIPv6 ? address.clientNetwork : address.clientSite
    }
}

extension NoteKey<String> {
    /// `pass`, `fail`, `permerror` or `temperror`, as in an Authentication-Results field.
    static let iprev = NoteKey("iprev", in: .session)
}
