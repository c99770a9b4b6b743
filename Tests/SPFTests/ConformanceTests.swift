import Addresses
import SPF
import System
import Testing

/// The test suite of RFC 7208 that Debian's package python3-spf brings.
struct ConformanceTests {
    private struct Case {
        let scenario: String
        let name: String
        let hello: [UInt8]
        let host: String
        let sender: [UInt8]
        let results: [String]
        /// `nil`: not checked; `DEFAULT`: there is none.
        let explanation: String?
        let zone: ZoneData
    }

    @Test func `all 16 scenarios of the suite hold`() throws {
        let cases = try Self.cases()
        #expect(Set(cases.map(\.scenario)).count == 16)
        #expect(cases.count == 203)
        for test in cases {
            let place: Comment = "\(test.scenario): \(test.name)"
            let client = try #require(IPAddress(parsing: test.host), place)
            let identity = SPFIdentity(client: client, hello: test.hello, sender: test.sender)
            let found = try #require(test.zone.evaluate(identity), place).finding
            #expect(test.results.contains(found.result.rawValue), place)
            guard let explanation = test.explanation else { continue }
            #expect((found.explanation ?? "DEFAULT") == explanation, place)
        }
    }

    private static func cases() throws -> [Case] {
        let script = "\(#filePath)".replacing("ConformanceTests.swift", with: "rfc7208_lines.py")
        // Fails if the package is not there: scripts/packages lists it.
        let output = try Spawn.output(
            of: ["/usr/bin/python3", script],
            within: .seconds(60),
            limit: 4_000_000
        )
        var cases: [Case] = []
        var scenario: (name: String, zone: ZoneData) = ("", ZoneData())
        for line in String(decoding: output, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: "\t").map { String($0) }
            switch words.first {
            case "scenario": scenario = (Self.text(words[1]), ZoneData())
            case "record":
                let record = try #require(Self.record(words), "\(line)")
                scenario.zone.add(record, to: Self.octets(words[1]))

            case "test":
                cases.append(
                    Case(
                        scenario: scenario.name,
                        name: Self.text(words[1]),
                        hello: Self.octets(words[2]),
                        host: Self.text(words[3]),
                        sender: Self.octets(words[4]),
                        results: words[5].split(separator: ",").map { String($0) },
                        explanation: words[6] == "*" ? nil : Self.text(words[6]),
                        zone: scenario.zone
                    )
                )

            default: Issue.record("\(line)")
            }
        }
        return cases
    }

    private static func record(_ words: [String]) -> ZoneData.Record? {
        switch words[2] {
        case "TIMEOUT": .timeout
        case "TXT": .text(self.octets(words[3]))
        case "A", "AAAA": IPAddress(parsing: self.text(words[3])).map { .address($0) }
        case "MX": .exchange(self.octets(words[3]))
        case "PTR": .pointer(self.octets(words[3]))
        case "CNAME": .alias(self.octets(words[3]))
        default: nil
        }
    }

    private static func text(_ word: String) -> String {
        String(decoding: self.octets(word), as: UTF8.self)
    }

    private static func octets(_ word: String) -> [UInt8] {
        if word == "-" { return [] }
        let digits = Array(word.utf8)
        return stride(from: 0, to: digits.count - 1, by: 2).compactMap {
            UInt8(String(decoding: digits[$0...($0 + 1)], as: UTF8.self), radix: 16)
        }
    }
}
