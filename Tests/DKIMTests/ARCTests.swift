import DKIM
import DomainNames
import Octets
import System
import Testing

/// The public ARC test suite (ValiMail/arc_test_suite), read from beside the checkout.
@Suite struct ARCTests {
    struct Case: Sendable {
        let name: String
        let wanted: String
        let message: [UInt8]
        let records: [String: String]
    }

    /// Prints a case a line, fields separated by tabs: name, result, message and records in base64.
    private static let converter = """
        base64, sys, yaml = map(__import__, ("base64", "sys", "yaml"))
        code = lambda octets: base64.b64encode(octets).decode() or "-"
        for suite in yaml.safe_load_all(open(sys.argv[1], encoding="utf-8")):
            records = [f"{name}\\n{text}" for name, text in suite["txt-records"].items()]
            for name, case in suite["tests"].items():
                message = case["message"].replace("\\r\\n", "\\n").replace("\\n", "\\r\\n").encode()
                print(name, case["cv"] or "-", code(message), *(code(r.encode()) for r in records), sep="\\t")
        """

    private static let folder: String = {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return "/\(root)/../shared/data/arc_test_suite"
    }()

    private static func decoded(_ text: Substring) -> [UInt8] {
        text == "-" ? [] : Base64.decode(String(text)) ?? []
    }

    private static func cases() throws -> [Case] {
        let file = "\(self.folder)/arc-draft-validation-tests.yml"
        let output: [UInt8]
        do {
            output = try Spawn.output(
                of: ["/usr/bin/python3", "-c", Self.converter, file],
                within: .seconds(60),
                limit: 16_000_000
            )
        } catch {
            Issue.record(
                "\(file) cannot be read: clone github.com/ValiMail/arc_test_suite and put its tests folder there, and install python3-yaml"
            )
            throw error
        }
        return String(decoding: output, as: UTF8.self).split(separator: "\n").map { line in
            let words = line.split(separator: "\t")
            var records: [String: String] = [:]
            for word in words.dropFirst(3) {
                let text = String(decoding: Self.decoded(word), as: UTF8.self)
                let parts = text.split(separator: "\n", maxSplits: 1)
                records[String(parts[0])] = String(parts[1])
            }
            return Case(
                name: String(words[0]),
                wanted: words[1].lowercased(),
                message: Self.decoded(words[2]),
                records: records
            )
        }
    }

    static func result(_ message: [UInt8], _ records: [String: String]) -> ARCResult {
        let message = PlayedMessage(message)
        let verification = ARCVerification(message.fields)
        return verification.result(
            keys: answers(verification.keyNames, records),
            bodies: verification.bodyHashes.hashed(message.body)
        )
    }

    /// Where the suite wants no certain result, the newest seal says that the chain fails (RFC 8617 §5.2, 2).
    @Test func `the whole suite has the results that it wants`() throws {
        let cases = try Self.cases()
        #expect(cases.count == 171)
        for each in cases {
            let found = Self.result(each.message, each.records)
            let wanted = each.wanted == "-" ? "fail" : each.wanted
            #expect(
                found.status.rawValue == wanted,
                "\(each.name): \(found.reason ?? "no reason")"
            )
        }
    }

    @Test func `a DNS that does not answer is no pass, and one octet that is changed is none`()
        throws
    {
        let cases = try Self.cases()
        let base = try #require(cases.first { $0.name == "cv_pass_i1_1" })
        let fields = PlayedMessage(base.message)
        let verification = ARCVerification(fields.fields)
        var keys: [DNSName: KeyAnswer] = [:]
        for name in verification.keyNames { keys[name] = .failed }
        let silent = verification.result(
            keys: keys,
            bodies: verification.bodyHashes.hashed(fields.body)
        )
        #expect(silent.status == .fail && silent.reason == "the DNS did not answer")
        #expect(Self.result(base.message, base.records).instances == 1)
        let start = try #require(base.message.firstRange(of: octets("\r\n\r\n"))?.lowerBound)
        for index in start + 4..<base.message.count - 2 where base.message[index] > 0x20 {
            var changed = base.message
            changed[index] ^= 1
            #expect(Self.result(changed, base.records).status != .pass, "octet \(index)")
        }
    }

    @Test func `no octets end the process`() {
        var random = SystemRandomNumberGenerator()
        let list = octets("i=1; a=rsa-sha256; cv=none; d=example.com; s=a; h=from; bh=AQ==; b=AQ==")
        for _ in 0..<2_000 {
            let fields = ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"].map {
                var damaged = list
                let index = Int.random(in: 0..<damaged.count, using: &random)
                damaged[index] = UInt8.random(in: 0...255, using: &random)
                return SignedField(name: octets($0), value: damaged)
            }
            let verification = ARCVerification(fields)
            #expect(verification.result(keys: [:], bodies: [:]).status == .fail)
        }
    }
}
