import DMARC
import Testing

struct DMARCRecordTests {
    private func record(_ text: String) -> DMARCRecord? { DMARCRecord(Array(text.utf8)) }

    @Test(arguments: [
        "v=DMARC1", "v=DMARC1;", "v = DMARC1 ; p = none", "V=DMARC1; p=none", "v=DMARC1;;; x",
    ])
    func `a record begins with its version`(text: String) {
        #expect(self.record(text)?.policy == DMARCPolicy.none)
    }

    @Test(arguments: [
        "", "p=none; v=DMARC1", "v=dmarc1; p=none", "v=DMARC2", "v=DMARC1x", "v=DMARC1 p=none",
        " v=DMARC1", "v=spf1 -all", "=DMARC1", "v", ";v=DMARC1", "v=DMARC1,p=none",
    ])
    func `anything else is none`(text: String) { #expect(self.record(text) == nil) }

    @Test func `each tag is read`() throws {
        let record = try #require(
            self.record(
                "v=DMARC1; p=Reject; sp=quarantine;np=none; adkim=s; aspf=S; psd=n; t=y; fo=1:d; "
                    + "rua=mailto:a@example.org!10m, https://example.org/dmarc ; ruf=mailto:b@example.org"
            )
        )
        #expect(record.policy == .reject)
        #expect(record.subdomainPolicy == .quarantine)
        #expect(record.missingDomainPolicy == DMARCPolicy.none)
        #expect(record.dkimAlignment == .strict && record.spfAlignment == .strict)
        #expect(record.publicSuffix == .no)
        #expect(record.isTest)
        #expect(record.failureOptions == "1:d")
        #expect(record.reportAddresses == ["mailto:a@example.org", "https://example.org/dmarc"])
        #expect(!record.isUnusable)
    }

    @Test(arguments: [
        "v=DMARC1; p=none", "v=DMARC1; P=NONE; pct=50; rf=afrf; ri=3600; unknown=x; 1=2; =; a=",
        "v=DMARC1; p=none; adkim=x; aspf=; psd=maybe; t=yes; rua=example.org, :, mailto:, 1:x",
        "v=DMARC1; p=none; p=reject", "v=DMARC1; p=none; t=y\u{1}",
    ])
    func `what is unknown or wrong has its default`(text: String) throws {
        #expect(self.record(text) == self.record("v=DMARC1"))
    }

    @Test func `a wrong policy is none if reports can tell the owner`() throws {
        for tags in ["p=all", "p=reject; sp=x", "p=reject; np=bad"] {
            let alone = try #require(self.record("v=DMARC1; \(tags)"))
            #expect(alone.isUnusable)
            let reported = try #require(self.record("v=DMARC1; \(tags); rua=mailto:a@b.example"))
            #expect(!reported.isUnusable && reported.policy == DMARCPolicy.none)
            #expect(reported.subdomainPolicy == nil && reported.missingDomainPolicy == nil)
        }
    }

    @Test func `a record has a limit`() {
        let filler = String(repeating: "x", count: DMARCRecord.maximumOctets)
        #expect(self.record("v=DMARC1; p=reject; x=\(filler)") == nil)
        let many = (0..<100).map { "mailto:\($0)@a.example" }.joined(separator: ",")
        #expect(self.record("v=DMARC1; rua=\(many)")?.reportAddresses.count == 16)
    }

    @Test func `damaged records are read as far as they go`() {
        let whole = Array("v=DMARC1; p=reject; sp=none; rua=mailto:a@example.org!1k,x:y; t=y".utf8)
        for index in whole.indices {
            _ = DMARCRecord(Array(whole[..<index]))
            for octet in [UInt8(0), 0x20, 0x3B, 0x3D, 0x2C, 0x21, 0xFF] {
                var damaged = whole
                damaged[index] = octet
                let record = DMARCRecord(damaged)
                if index > 9 { #expect(record != nil) }
            }
        }
    }
}
