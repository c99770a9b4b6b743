import CertificatePaths
import Testing

/// RFC 7671 and RFC 7672 §3.1, a row each.
@Suite struct DANERecordsTests {
    /// A record: usage, selector, matching type, and the certificate that it has the data of.
    typealias Record = (usage: UInt8, selector: UInt8, matching: UInt8, of: String)

    struct Case: Sendable, CustomTestStringConvertible {
        let records: [Record]
        let chain: [String]
        let names: [String]
        /// A part of the reason; `nil`: a record vouches for the chain.
        let problem: String?

        init(
            _ records: [Record],
            _ chain: [String],
            _ problem: String? = nil,
            names: [String] = ["mx.example.org"]
        ) {
            self.records = records
            self.chain = chain
            self.names = names
            self.problem = problem
        }

        var testDescription: String { "\(self.records) for \(self.chain) as \(self.names)" }
    }

    private static let combinations: [(UInt8, UInt8)] = [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2),
    ]

    private static let single = combinations.flatMap { selector, matching in
        let other = "no TLSA record matches"
        return [
            // DANE-EE: the host's own certificate, whatever its dates, names and authority.
            Case([(3, selector, matching, "expired")], ["expired"], names: []),
            Case([(3, selector, matching, "lonely")], ["lonely", "root"]),
            Case([(3, selector, matching, "root")], ["plain", "root"], other),
            Case([(3, selector, matching, "plain")], ["lonely"], other),
            // DANE-TA: an authority that the host shows.
            Case([(2, selector, matching, "root")], ["below", "middle", "root"]),
            Case([(2, selector, matching, "middle")], ["below", "middle"]),
            Case(
                [(2, selector, matching, "other")],
                ["below", "middle"],
                selector + matching == 0 ? "issuer" : other
            ),
            Case(
                [(2, selector, matching, "below")],
                ["below", "below", "middle"],
                other
            ),
            Case(
                [(2, selector, matching, "root")],
                ["expired", "root"],
                "expired",
                names: ["expired"]
            ),
            Case(
                [(2, selector, matching, "middle")],
                ["below", "middle"],
                "hostname mismatch",
                names: ["mx2.example.org"]
            ),
            // The record brings it along, or does not.
            Case(
                [(2, selector, matching, "middle")],
                ["below"],
                selector + matching == 0 ? nil : other
            ),
        ]
    }

    private static let several = [
        Case([(3, 1, 1, "root"), (3, 1, 1, "plain")], ["plain"]),
        Case([(2, 1, 1, "other"), (2, 1, 1, "middle")], ["below", "middle"]),
        Case([(2, 1, 1, "other"), (3, 1, 1, "below")], ["below"], names: []),
        Case([(3, 1, 1, "other"), (2, 1, 1, "middle")], ["below", "middle"]),
        Case(
            [(2, 0, 1, "middle")],
            ["below", "middle"],
            names: ["other.example", "mx.example.org"]
        ),
        Case([(2, 0, 1, "middle")], ["below", "middle"], "no name", names: []),
        // What SMTP does not use counts for nothing.
        Case([(1, 1, 1, "plain"), (3, 1, 1, "root")], ["plain"], "no TLSA record"),
        Case([(0, 1, 1, "root"), (3, 1, 1, "plain")], ["plain"]),
        // RFC 7671 §9: of two digests the stronger one counts, for each usage and selector.
        Case([(3, 1, 1, "plain"), (3, 1, 2, "root")], ["plain"], "no TLSA record"),
        Case([(3, 1, 1, "plain"), (3, 0, 2, "root")], ["plain"]),
        Case([(3, 1, 1, "below"), (2, 1, 2, "root")], ["below"]),
        Case([(3, 1, 0, "plain"), (3, 1, 2, "root")], ["plain"]),
        Case([(3, 1, 1, "plain")], [], "no certificate"),
    ]

    static let cases = single + several

    @Test(arguments: cases) func `records vouch for a certificate or do not`(row: Case) throws {
        var records = DANERecords()
        for (usage, selector, matching, name) in row.records {
            let data = try MadeCertificates.association(
                name,
                selector: selector,
                matching: matching
            )
            records.add(usage: usage, selector: selector, matching: matching, data: data)
        }
        let problem = records.problem(of: try MadeCertificates.named(row.chain), names: row.names)
        if let expected = row.problem {
            #expect(problem?.contains(expected) == true, "\(problem ?? "none")")
        } else {
            #expect(problem == nil)
        }
    }

    /// Usage, selector, matching type and octets of data, then whether SMTP can use it.
    @Test(
        arguments: [
            (2, 0, 0, 1, true), (3, 1, 0, 1, true), (2, 1, 1, 32, true), (3, 0, 2, 64, true),
            (0, 1, 1, 32, false), (1, 1, 1, 32, false), (4, 1, 1, 32, false),
            (255, 1, 1, 32, false),
            (3, 2, 1, 32, false), (3, 1, 3, 32, false), (3, 1, 1, 31, false), (3, 1, 1, 33, false),
            (3, 1, 1, 64, false), (3, 1, 2, 32, false), (3, 0, 0, 0, false), (3, 1, 1, 0, false),
        ] as [(UInt8, UInt8, UInt8, Int, Bool)]
    )
    func `a record is of use or not`(
        usage: UInt8,
        selector: UInt8,
        matching: UInt8,
        octets: Int,
        isUsable: Bool
    ) {
        var records = DANERecords()
        let data = [UInt8](repeating: 0, count: octets)
        records.add(usage: usage, selector: selector, matching: matching, data: data)
        #expect(records.isUsable == isUsable)
        #expect(records.problem(of: [[0x30, 0]], names: ["mx.example.org"]) != nil)
    }
}
