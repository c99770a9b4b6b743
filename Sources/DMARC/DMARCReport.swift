package import DomainNames
import Octets

/// What was done with a message (RFC 9990 §3.1.1.9).
package enum DMARCDisposition: String, Sendable {
    /// Nothing, because the owner asks for nothing.
    case none
    /// Nothing, because the message passed and the owner asks for something if it does not.
    case pass
    case quarantine
    case reject
}

/// What an aggregate report says about messages that are alike: a `record` of RFC 9990 without its count.
package struct DMARCReportRow: Sendable, Equatable {
    /// Why what was done is not what the owner asks for (RFC 9990 §3.1.6).
    package enum Reason: String, Sendable {
        case localPolicy = "local_policy"
        case testMode = "policy_test_mode"
    }

    /// What a signature is worth.
    package struct Signature: Sendable, Equatable {
        package let domain: String
        package let selector: String
        package let result: String

        package init(domain: String, selector: String, result: String) {
            self.domain = domain
            self.selector = selector
            self.result = result
        }
    }

    /// The most signatures of a row; the RFC allows 100.
    package static let maximumSignatures = 10

    package var sourceIP: String
    package var disposition: DMARCDisposition
    package var isDKIMAligned: Bool
    package var isSPFAligned: Bool
    package var reason: Reason?
    package var headerFrom: String
    /// Empty: the null reverse-path.
    package var envelopeFrom: String
    /// Those that matter most first.
    package var signatures: [Signature] = []
    /// The domain that SPF checked, and the result; `nil` if it was not asked.
    package var spf: (domain: String, result: String)?

    package init(
        sourceIP: String,
        disposition: DMARCDisposition,
        isDKIMAligned: Bool,
        isSPFAligned: Bool,
        reason: Reason?,
        headerFrom: String,
        envelopeFrom: String
    ) {
        self.sourceIP = sourceIP
        self.disposition = disposition
        self.isDKIMAligned = isDKIMAligned
        self.isSPFAligned = isSPFAligned
        self.reason = reason
        self.headerFrom = headerFrom
        self.envelopeFrom = envelopeFrom
    }

    package static func == (first: Self, second: Self) -> Bool { first.text == second.text }

    // MARK: As it is stored

    /// The row as text, its fields separated by tabs and newlines.
    package var text: String {
        let facts = [
            self.sourceIP, self.disposition.rawValue, self.isDKIMAligned ? "pass" : "fail",
            self.isSPFAligned ? "pass" : "fail", self.reason?.rawValue ?? "", self.headerFrom,
            self.envelopeFrom,
        ]
        var lines = [facts]
        if let spf { lines.append(["spf", spf.domain, spf.result]) }
        for each in self.signatures {
            lines.append(["dkim", each.domain, each.selector, each.result])
        }
        return lines.map { fields in fields.map(Self.word).joined(separator: "\t") }
            .joined(separator: "\n")
    }

    /// Reads what ``text`` made; `nil` if it is something else.
    package init?(text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            line.split(separator: "\t", omittingEmptySubsequences: false).map { String($0) }
        }
        guard let facts = lines.first, facts.count == 7,
            let disposition = DMARCDisposition(rawValue: facts[1])
        else { return nil }
        self.init(
            sourceIP: facts[0],
            disposition: disposition,
            isDKIMAligned: facts[2] == "pass",
            isSPFAligned: facts[3] == "pass",
            reason: Reason(rawValue: facts[4]),
            headerFrom: facts[5],
            envelopeFrom: facts[6]
        )
        for fields in lines.dropFirst() {
            switch (fields.first, fields.count) {
            case ("spf", 3): self.spf = (fields[1], fields[2])
            case ("dkim", 4):
                self.signatures.append(
                    Signature(domain: fields[1], selector: fields[2], result: fields[3])
                )

            default: return nil
            }
        }
    }

    /// A word that may stand between tabs: printable ASCII, 255 octets at most.
    private static func word(_ text: String) -> String {
        String(decoding: text.utf8.filter { 0x21...0x7E ~= $0 }.prefix(255), as: UTF8.self)
    }

    /// A number that tells rows apart, for the key of a store: FNV-1a, 64 bits, as 16 hexadecimal digits.
    package var digest: String {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for octet in self.text.utf8 { hash = (hash ^ UInt64(octet)) &* 0x100_0000_01B3 }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// What the owner of a domain published, as a report says it (RFC 9990 §3.1.1.5).
package struct DMARCPublishedPolicy: Sendable, Equatable {
    package var domain: String
    /// Elements of `policy_published` behind the domain: name and value.
    package var elements: [(name: String, value: String)]
    /// Where reports go.
    package var reportAddresses: [String]

    package static func == (first: Self, second: Self) -> Bool { first.text == second.text }

    /// The policy of a record that was found at `domain`, by a list of suffixes or by the tree walk.
    package init(_ record: DMARCRecord, domain: DNSName, isByList: Bool) {
        self.domain = domain.text
        var elements = [
            ("discovery_method", isByList ? "psl" : "treewalk"), ("p", record.policy.rawValue),
        ]
        if let policy = record.subdomainPolicy { elements.append(("sp", policy.rawValue)) }
        if let policy = record.missingDomainPolicy { elements.append(("np", policy.rawValue)) }
        if let options = record.failureOptions { elements.append(("fo", options)) }
        elements += [
            ("adkim", record.dkimAlignment.rawValue), ("aspf", record.spfAlignment.rawValue),
            ("testing", record.isTest ? "y" : "n"),
        ]
        self.elements = elements.map { (name: $0.0, value: $0.1) }
        self.reportAddresses = record.reportAddresses
    }

    /// The policy as text; ``init(text:)`` reads it.
    package var text: String {
        let elements = self.elements.map { "\($0.name)\t\($0.value)" }
        return ([self.domain] + elements + self.reportAddresses.map { "rua\t\($0)" })
            .joined(separator: "\n")
    }

    /// Reads what ``text`` made; `nil` if it is something else.
    package init?(text: String) {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard let domain = lines.first, !domain.isEmpty else { return nil }
        self.domain = String(domain)
        self.elements = []
        self.reportAddresses = []
        for line in lines.dropFirst() {
            let pair = line.split(separator: "\t", maxSplits: 1).map { String($0) }
            guard pair.count == 2 else { return nil }
            if pair[0] == "rua" {
                self.reportAddresses.append(pair[1])
            } else {
                self.elements.append((name: pair[0], value: pair[1]))
            }
        }
    }
}

/// An aggregate report about one domain and one day (RFC 9990).
package struct DMARCReport: Sendable {
    /// Who reports, and what about.
    package struct Metadata: Sendable {
        /// The name of the organisation.
        package var organisation: String
        /// Where the owner can ask.
        package var contact: String
        /// The domain name of the server that reports.
        package var receiver: String
        /// The name and version of the program.
        package var generator: String
        /// The first second of the time that is reported, as Unix time.
        package var begin: Int
        /// The last second.
        package var end: Int

        package init(
            organisation: String,
            contact: String,
            receiver: String,
            generator: String,
            begin: Int,
            end: Int
        ) {
            self.organisation = organisation
            self.contact = contact
            self.receiver = receiver
            self.generator = generator
            self.begin = begin
            self.end = end
        }
    }

    private let metadata: Metadata
    private let policy: DMARCPublishedPolicy
    private let rows: [(row: DMARCReportRow, count: Int)]

    /// A report; `rows` has at least one row.
    package init(
        _ metadata: Metadata,
        _ policy: DMARCPublishedPolicy,
        rows: [(row: DMARCReportRow, count: Int)]
    ) {
        self.metadata = metadata
        self.policy = policy
        self.rows = rows.sorted { ($1.count, $0.row.text) < ($0.count, $1.row.text) }
    }

    /// The same for each report about this domain and day, as RFC 9990 §3.5.1 wants it.
    package var id: String {
        "\(self.metadata.begin)-\(self.policy.domain)@\(self.metadata.receiver)"
    }

    /// The name of the file with the report's text, or of the one that gzip makes of it (RFC 9990 §3.5.2).
    package func fileName(isCompressed: Bool) -> String {
        "\(self.metadata.receiver)!\(self.policy.domain)!\(self.metadata.begin)!\(self.metadata.end)"
            + (isCompressed ? ".xml.gz" : ".xml")
    }

    /// The report's text.
    package var xml: String {
        var writer = XMLText()
        writer.element("feedback", attributes: " xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"") {
            writer in
            writer.value("version", "1.0")
            self.writeMetadata(&writer)
            writer.element("policy_published") { writer in
                writer.value("domain", self.policy.domain)
                for element in self.policy.elements { writer.value(element.name, element.value) }
            }
            for (row, count) in self.rows { Self.write(row, count, &writer) }
        }
        return writer.text
    }

    private func writeMetadata(_ writer: inout XMLText) {
        writer.element("report_metadata") { writer in
            writer.value("org_name", self.metadata.organisation)
            writer.value("email", self.metadata.contact)
            writer.value("report_id", self.id)
            writer.element("date_range") { writer in
                writer.value("begin", "\(self.metadata.begin)")
                writer.value("end", "\(self.metadata.end)")
            }
            writer.value("generator", self.metadata.generator)
        }
    }

    private static func write(_ row: DMARCReportRow, _ count: Int, _ writer: inout XMLText) {
        writer.element("record") { writer in
            writer.element("row") { writer in
                writer.value("source_ip", row.sourceIP)
                writer.value("count", "\(count)")
                writer.element("policy_evaluated") { writer in
                    writer.value("disposition", row.disposition.rawValue)
                    writer.value("dkim", row.isDKIMAligned ? "pass" : "fail")
                    writer.value("spf", row.isSPFAligned ? "pass" : "fail")
                    if let reason = row.reason {
                        writer.element("reason") { $0.value("type", reason.rawValue) }
                    }
                }
            }
            writer.element("identifiers") { writer in
                writer.value("header_from", row.headerFrom)
                writer.value("envelope_from", row.envelopeFrom)
            }
            writer.element("auth_results") { writer in
                for signature in row.signatures {
                    writer.element("dkim") { writer in
                        writer.value("domain", signature.domain)
                        writer.value("selector", signature.selector)
                        writer.value("result", signature.result)
                    }
                }
                guard let spf = row.spf else { return }
                writer.element("spf") { writer in
                    writer.value("domain", spf.domain)
                    writer.value("scope", "mfrom")
                    writer.value("result", spf.result)
                }
            }
        }
    }
}

/// XML, an element a line.
private struct XMLText {
    private(set) var text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    private var depth = 0

    mutating func element(_ name: String, attributes: String = "", _ body: (inout XMLText) -> Void)
    {
        self.line("<\(name)\(attributes)>")
        self.depth += 1
        body(&self)
        self.depth -= 1
        self.line("</\(name)>")
    }

    mutating func value(_ name: String, _ value: String) {
        self.line("<\(name)>\(Self.escaped(value))</\(name)>")
    }

    private mutating func line(_ text: String) {
        self.text += String(repeating: "  ", count: self.depth) + text + "\n"
    }

    /// Text between tags; what XML does not allow is left out.
    private static func escaped(_ value: String) -> String {
        value.unicodeScalars.reduce(into: "") { text, scalar in
            switch scalar {
            case "&": text += "&amp;"
            case "<": text += "&lt;"
            case ">": text += "&gt;"
            case "\"": text += "&quot;"
            default:
                guard scalar.value >= 0x20, scalar.value != 0xFFFE, scalar.value != 0xFFFF else {
                    return
                }
                text.unicodeScalars.append(scalar)
            }
        }
    }
}

/// The keys of what is counted for reports, in the part `dmarc` of a store.
///
/// A row's value is its count, a newline and ``DMARCReportRow/text``.
package enum DMARCReportKeys {
    /// What a domain published on a day, as ``DMARCPublishedPolicy/text``.
    package static func policy(_ domain: String, day: String) -> String {
        "policy/\(day)/\(domain)"
    }

    /// A row of a domain's report.
    package static func row(_ row: DMARCReportRow, _ domain: String, day: String) -> String {
        "row/\(day)/\(domain)/\(row.digest)"
    }

    /// All policies of a day, or all rows of a domain: what their keys begin with.
    package static func policies(day: String) -> String { "policy/\(day)/" }
    package static func rows(_ domain: String, day: String) -> String { "row/\(day)/\(domain)/" }

    /// How many rows there are: of a domain, or of the whole day.
    package static func count(_ domain: String?, day: String) -> String {
        "count/\(day)/\(domain ?? "")"
    }

    /// A row's value.
    package static func value(_ row: DMARCReportRow, count: Int) -> String {
        "\(count)\n\(row.text)"
    }

    /// Reads a row's value; `nil` if it is none.
    package static func read(_ value: String) -> (row: DMARCReportRow, count: Int)? {
        guard let end = value.firstIndex(of: "\n"), let count = Int(value[..<end]), count > 0,
            let row = DMARCReportRow(text: String(value[value.index(after: end)...]))
        else { return nil }
        return (row, count)
    }
}
