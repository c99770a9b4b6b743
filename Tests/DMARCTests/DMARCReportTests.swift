import DMARC
import DomainNames
import Testing

struct DMARCReportTests {
    private var row: DMARCReportRow {
        var row = DMARCReportRow(
            sourceIP: "192.0.2.1",
            disposition: .quarantine,
            isDKIMAligned: false,
            isSPFAligned: true,
            reason: .testMode,
            headerFrom: "example.org",
            envelopeFrom: ""
        )
        row.spf = ("example.org", "pass")
        row.signatures = [
            .init(domain: "a.example", selector: "<s&\">", result: "fail"),
            .init(domain: "b.example", selector: "s2", result: "pass"),
        ]
        return row
    }

    private func policy(_ text: String) throws -> DMARCPublishedPolicy {
        let record = try #require(DMARCRecord(Array(text.utf8)))
        let domain = try #require(DNSName("example.org"))
        return DMARCPublishedPolicy(record, domain: domain, isByList: false)
    }

    @Test func `a row survives the store`() throws {
        let row = self.row
        #expect(DMARCReportRow(text: row.text) == row)
        let (read, count) = try #require(DMARCReportKeys.read(DMARCReportKeys.value(row, count: 7)))
        #expect(read == row && count == 7)
        var other = row
        other.sourceIP = "192.0.2.2"
        #expect(row.digest != other.digest && row.digest.utf8.count == 16)
        var bare = row
        bare.spf = nil
        bare.signatures = []
        #expect(DMARCReportRow(text: bare.text) == bare && bare != row)
    }

    @Test func `words cannot break a row`() {
        var row = self.row
        row.signatures = [
            .init(domain: "a\tb\nc", selector: String(repeating: "x", count: 999), result: "fail")
        ]
        let read = DMARCReportRow(text: row.text)
        #expect(read?.signatures.first?.domain == "abc")
        #expect(read?.signatures.first?.selector.count == 255)
    }

    @Test(arguments: ["", "1", "0\nx", "-1\nx", "x\n", "1\na\tb", "1\na\tbad\tpass\tpass\t\tb\tc"])
    func `anything else in the store is no row`(value: String) {
        #expect(DMARCReportKeys.read(value) == nil)
    }

    @Test func `damaged rows are no trouble`() {
        let text = Array(self.row.text.utf8)
        for index in text.indices {
            for octet in [UInt8(0x09), 0x0A, 0x00, 0x78] {
                var damaged = text
                damaged[index] = octet
                _ = DMARCReportRow(text: String(decoding: damaged, as: UTF8.self))
            }
        }
    }

    @Test func `a policy survives the store`() throws {
        let policy = try self.policy(
            "v=DMARC1; p=reject; np=none; fo=1:d; t=y; rua=mailto:a@b.example"
        )
        #expect(DMARCPublishedPolicy(text: policy.text) == policy)
        #expect(
            policy.elements.map(\.name) == [
                "discovery_method", "p", "np", "fo", "adkim", "aspf", "testing",
            ]
        )
        #expect(DMARCPublishedPolicy(text: "") == nil)
        #expect(DMARCPublishedPolicy(text: "a\nb") == nil)
    }

    @Test func `a report has the form of RFC 9990`() throws {
        let report = DMARCReport(
            .init(
                organisation: "A & B",
                contact: "postmaster@mx.example",
                receiver: "mx.example",
                generator: "Gatepost 1",
                begin: 86_400,
                end: 172_799
            ),
            try self.policy("v=DMARC1; p=reject; rua=mailto:a@b.example"),
            rows: [(self.row, 3)]
        )
        let name = "mx.example!example.org!86400!172799"
        #expect(report.fileName(isCompressed: false) == "\(name).xml")
        #expect(report.fileName(isCompressed: true) == "\(name).xml.gz")
        #expect(report.id == "86400-example.org@mx.example")
        #expect(
            report.xml == """
                <?xml version="1.0" encoding="UTF-8"?>
                <feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">
                  <version>1.0</version>
                  <report_metadata>
                    <org_name>A &amp; B</org_name>
                    <email>postmaster@mx.example</email>
                    <report_id>86400-example.org@mx.example</report_id>
                    <date_range>
                      <begin>86400</begin>
                      <end>172799</end>
                    </date_range>
                    <generator>Gatepost 1</generator>
                  </report_metadata>
                  <policy_published>
                    <domain>example.org</domain>
                    <discovery_method>treewalk</discovery_method>
                    <p>reject</p>
                    <adkim>r</adkim>
                    <aspf>r</aspf>
                    <testing>n</testing>
                  </policy_published>
                  <record>
                    <row>
                      <source_ip>192.0.2.1</source_ip>
                      <count>3</count>
                      <policy_evaluated>
                        <disposition>quarantine</disposition>
                        <dkim>fail</dkim>
                        <spf>pass</spf>
                        <reason>
                          <type>policy_test_mode</type>
                        </reason>
                      </policy_evaluated>
                    </row>
                    <identifiers>
                      <header_from>example.org</header_from>
                      <envelope_from></envelope_from>
                    </identifiers>
                    <auth_results>
                      <dkim>
                        <domain>a.example</domain>
                        <selector>&lt;s&amp;&quot;&gt;</selector>
                        <result>fail</result>
                      </dkim>
                      <dkim>
                        <domain>b.example</domain>
                        <selector>s2</selector>
                        <result>pass</result>
                      </dkim>
                      <spf>
                        <domain>example.org</domain>
                        <scope>mfrom</scope>
                        <result>pass</result>
                      </spf>
                    </auth_results>
                  </record>
                </feedback>

                """
        )
    }
}
