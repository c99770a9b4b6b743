import CertificatePaths
import DNSResolver
import DomainNames
import NIOCore
import PolicyKit
import Synchronization
import Testing

@testable import StandardPlugins

/// What the answers of the DNS mean for a next hop (RFC 7672 §2.2), a row each.
@Suite struct DANELookupTests {
    /// Answers by name and type; anything else does not exist.
    private final class Zone: NameResolver {
        let answers: [String: DNSLookup]
        let asked = Mutex<[String]>([])

        init(_ answers: [String: DNSLookup]) { self.answers = answers }

        func query(
            _ name: DNSName,
            _ type: DNSRecordType,
            deadline: ContinuousClock.Instant?
        ) async -> DNSAnswer {
            await self.lookUp(name, type, deadline: deadline).answer
        }

        func lookUp(
            _ name: DNSName,
            _ type: DNSRecordType,
            deadline: ContinuousClock.Instant?
        ) async -> DNSLookup {
            self.asked.withLock { $0.append("\(name) \(type)") }
            return self.answers["\(name) \(type)"] ?? DNSLookup(.nxdomain, isSecure: true)
        }
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let answers: [String: DNSLookup]
        let finding: DANEFinding
        var addresses: [IPAddress] = []
        var host = "mx.example"
    }

    private static let v4 = IPAddress(ipv4: 0xC000_0201)
    private static let v6 = IPAddress(ipv6: 0x2001_0db8 << 96 | 1)
    private static let a = DNSLookup(.records([.address(v4)]), isSecure: true)
    private static let aaaa = DNSLookup(.records([.address(v6)]), isSecure: true)
    private static let insecureA = DNSLookup(.records([.address(v4)]))
    private static let data = [UInt8](repeating: 7, count: 32)

    private static func tlsa(_ usage: UInt8, isSecure: Bool = true) -> DNSLookup {
        let record = TLSARecord(usage: usage, selector: 1, matchingType: 1, data: Self.data)
        return DNSLookup(.records([.tlsa(record)]), isSecure: isSecure)
    }

    private static let usable: DANERecords = {
        var records = DANERecords()
        records.add(usage: 3, selector: 1, matching: 1, data: Self.data)
        return records
    }()

    private static let place = "_25._tcp.mx.example tlsa"
    private static let found = DANEFinding.records(usable, names: ["mx.example"])

    static let cases = [
        Case(
            testDescription: "secure records",
            answers: ["mx.example a": a, place: tlsa(3)],
            finding: found,
            addresses: [v4]
        ),
        Case(
            testDescription: "both families",
            answers: ["mx.example a": a, "mx.example aaaa": aaaa, place: tlsa(3)],
            finding: found,
            addresses: [v4, v6]
        ),
        Case(
            testDescription: "records of no use",
            answers: ["mx.example a": a, place: tlsa(1)],
            finding: .unusable,
            addresses: [v4]
        ),
        Case(testDescription: "no records", answers: ["mx.example a": a], finding: .none),
        Case(
            testDescription: "no records, and nothing vouches for that",
            answers: ["mx.example a": a, place: DNSLookup(.nodata)],
            finding: .none
        ),
        Case(
            testDescription: "insecure records",
            answers: ["mx.example a": a, place: tlsa(3, isSecure: false)],
            finding: .none
        ),
        Case(
            testDescription: "insecure addresses: not even asked",
            answers: ["mx.example a": insecureA, place: tlsa(3)],
            finding: .none
        ),
        Case(
            testDescription: "the look-up of the records fails",
            answers: ["mx.example a": a, place: DNSLookup(.failure(.server(rcode: 2)))],
            finding: .failed("the TLSA records of mx.example: server(rcode: 2)"),
            addresses: [v4]
        ),
        Case(
            testDescription: "the records are bogus",
            answers: ["mx.example a": a, place: DNSLookup(.failure(.bogus))],
            finding: .failed("the TLSA records of mx.example: bogus"),
            addresses: [v4]
        ),
        Case(
            testDescription: "an address is bogus",
            answers: [
                "mx.example a": a, "mx.example aaaa": DNSLookup(.failure(.bogus)), place: tlsa(3),
            ],
            finding: .failed("the addresses of mx.example: bogus")
        ),
        Case(
            testDescription: "no address can be had",
            answers: [
                "mx.example a": DNSLookup(.failure(.timedOut)),
                "mx.example aaaa": DNSLookup(.nodata),
            ],
            finding: .failed("the addresses of mx.example: timedOut")
        ),
        Case(
            testDescription: "one family fails",
            answers: [
                "mx.example a": a, "mx.example aaaa": DNSLookup(.failure(.timedOut)),
                place: tlsa(3),
            ],
            finding: found,
            addresses: [v4]
        ),
        Case(testDescription: "no address at all", answers: [place: tlsa(3)], finding: .none),
        Case(
            testDescription: "an alias, with records where it leads",
            answers: [
                "mx.example a": DNSLookup(
                    .records([.address(v4)]),
                    isSecure: true,
                    canonicalName: DNSName("host.example")
                ),
                "_25._tcp.host.example tlsa": tlsa(3), place: tlsa(1),
            ],
            finding: .records(usable, names: ["host.example", "mx.example"]),
            addresses: [v4]
        ),
        Case(
            testDescription: "an alias, with records of its own",
            answers: [
                "mx.example a": DNSLookup(
                    .records([.address(v4)]),
                    isSecure: true,
                    canonicalName: DNSName("host.example")
                ),
                place: tlsa(3),
            ],
            finding: found,
            addresses: [v4]
        ),
        Case(
            testDescription: "an address has no records",
            answers: ["192.0.2.1 a": a, "_25._tcp.192.0.2.1 tlsa": tlsa(3)],
            finding: .none,
            host: "192.0.2.1"
        ),
    ]

    @Test(arguments: cases) func `what is found`(row: Case) async throws {
        let zone = Zone(row.answers)
        let address = try #require(ServerAddress(row.host, defaultPort: 25))
        let host = await DANELookup(resolver: zone).find(address, until: .now() + .seconds(5))
        #expect(host == DANEHost(row.finding, row.addresses))
        if row.testDescription.hasPrefix("insecure addresses") {
            #expect(zone.asked.withLock { !$0.contains(Self.place) })
        }
    }
}
