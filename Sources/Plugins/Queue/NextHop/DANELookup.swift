import CertificatePaths
import NIOCore
import PolicyKit

/// What the DNS says of how to speak with a host (RFC 7672 §2.2).
enum DANEFinding: Sendable, Equatable {
    /// No TLSA record that DNSSEC vouches for: the host does without DANE.
    case none
    /// There are records, of which SMTP can use none: TLS is needed, and its certificate may be anything.
    case unusable
    /// A certificate must match these records. `names` are the names that a certificate which an authority
    /// issued may have, the TLSA base domain first.
    case records(DANERecords, names: [String])
    /// The DNS did not tell, and why: nothing may be sent.
    case failed(String)
}

/// A host as DNSSEC vouches for it.
struct DANEHost: Sendable, Equatable {
    let finding: DANEFinding
    /// Where it is; empty where nothing vouches for its addresses, or there are no records.
    let addresses: [IPAddress]

    init(_ finding: DANEFinding, _ addresses: [IPAddress] = []) {
        self.finding = finding
        self.addresses = finding == .none ? [] : addresses
    }
}

/// Looks the TLSA records of hosts up.
struct DANELookup: Sendable {
    let resolver: any NameResolver

    /// What is known of a host that is written in a configuration: its MX records are not looked up.
    func find(_ address: ServerAddress, until deadline: NIODeadline) async -> DANEHost {
        guard case .tcp(let host, let port) = address, address.certificateName != nil,
            let name = DNSName(host)
        else { return DANEHost(.none) }
        let latest = ContinuousClock.now + .nanoseconds((deadline - .now()).nanoseconds)
        async let first = self.resolver.lookUp(name, .a, deadline: latest)
        async let second = self.resolver.lookUp(name, .aaaa, deadline: latest)
        let lookups = await [first, second]
        if let failure = Self.failure(lookups) {
            return DANEHost(.failed("the addresses of \(name): \(failure)"))
        }
        // Where DNSSEC vouches for no address, TLSA records are not looked up: they would not be secure either,
        // and some servers do not answer such questions (RFC 7672 §2.2.2).
        let secure = lookups.filter { $0.isSecure && !$0.addresses.isEmpty }
        guard let lookup = secure.first else { return DANEHost(.none) }
        // Where an alias leads first.
        var bases = [name]
        if let alias = lookup.canonicalName, alias != name { bases.insert(alias, at: 0) }
        for base in bases {
            let finding = await self.records(base, port, latest)
            guard finding == .none else {
                return DANEHost(Self.naming(finding, name), secure.flatMap(\.addresses))
            }
        }
        return DANEHost(.none)
    }

    /// Why the addresses of a host are not known; `nil` if some are, or if there are none for certain.
    private static func failure(_ lookups: [DNSLookup]) -> DNSFailure? {
        var failures: [DNSFailure] = []
        for case .failure(let failure) in lookups.map(\.answer) { failures.append(failure) }
        // Answers that were tampered with are worse than none.
        if failures.contains(.bogus) { return .bogus }
        return lookups.contains { !$0.addresses.isEmpty } ? nil : failures.first
    }

    private func records(
        _ base: DNSName,
        _ port: Int,
        _ latest: ContinuousClock.Instant
    ) async -> DANEFinding {
        guard let name = DNSName("_\(port)._tcp.\(base)") else { return .none }
        return Self.finding(await self.resolver.lookUp(name, .tlsa, deadline: latest), base)
    }

    /// What the answer for the TLSA records of `base` means.
    static func finding(_ lookup: DNSLookup, _ base: DNSName) -> DANEFinding {
        switch lookup.answer {
        case .nxdomain, .nodata: return .none
        case .failure(let failure): return .failed("the TLSA records of \(base): \(failure)")
        case .records(let all):
            guard lookup.isSecure else { return .none }
            var records = DANERecords()
            for case .tlsa(let record) in all {
                records.add(
                    usage: record.usage,
                    selector: record.selector,
                    matching: record.matchingType,
                    data: record.data
                )
            }
            return records.isUsable ? .records(records, names: [base.text]) : .unusable
        }
    }

    /// The same with the name from the configuration, which an authority may vouch for as well (RFC 7672
    /// §3.2.2).
    private static func naming(_ finding: DANEFinding, _ name: DNSName) -> DANEFinding {
        guard case .records(let records, let names) = finding, !names.contains(name.text) else {
            return finding
        }
        return .records(records, names: names + [name.text])
    }
}

extension DNSLookup {
    fileprivate var addresses: [IPAddress] { self.answer.addresses }
}
