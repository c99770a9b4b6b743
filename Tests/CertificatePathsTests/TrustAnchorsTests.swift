import CertificatePaths
import Testing

@Suite struct TrustAnchorsTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let anchors: [String]
        let chain: [String]
        var purpose = TrustAnchors.Purpose.client
        /// A part of the reason; `nil`: the path is valid.
        let problem: String?

        init(
            _ anchors: [String],
            _ chain: [String],
            _ purpose: TrustAnchors.Purpose = .client,
            _ problem: String? = nil
        ) {
            self.anchors = anchors
            self.chain = chain
            self.purpose = purpose
            self.problem = problem
        }

        var testDescription: String { "\(self.chain) by \(self.anchors) as \(self.purpose)" }
    }

    static let cases = [
        Case(["root"], ["plain"]),
        Case(["root"], ["client"]),
        Case(["other", "root"], ["plain"]),
        Case(["root"], ["below", "middle"]),
        Case(["root"], ["below", "other", "root", "middle"]),
        // Each anchor ends a path: an authority below another one, and a certificate by itself.
        Case(["middle"], ["below"]),
        Case(["lonely"], ["lonely"]),
        Case(["plain"], ["plain"]),
        Case(["root"], ["below"], .client, "unable to get local issuer"),
        Case(["other"], ["plain"], .client, "unable to get local issuer"),
        // What the peer brings along is no anchor.
        Case(
            ["other"],
            ["plain", "root"],
            .client,
            "self-signed certificate in certificate chain"
        ),
        Case(["root"], ["lonely"], .client, "self-signed certificate"),
        Case([], ["plain"], .client, "unable to get local issuer"),
        Case(["root"], ["expired"], .client, "certificate has expired"),
        Case(["root"], ["weak"], .client, "digest algorithm too weak"),
        Case(["root"], ["forged", "plain"], .client, "invalid CA certificate"),
        Case(["root"], [], .client, "no certificate"),
        // What it is for.
        Case(["root"], ["server"], .client, "purpose"),
        Case(["root"], ["client"], .server(name: nil), "purpose"),
        Case(["root"], ["server"], .server(name: nil)),
        Case(["root"], ["server"], .server(name: "mx.example.org")),
        Case(["root"], ["server"], .server(name: "MX.Example.ORG")),
        Case(["root"], ["server"], .server(name: "a.wild.example")),
        Case(["root"], ["server"], .server(name: "a.b.wild.example"), "hostname mismatch"),
        Case(["root"], ["server"], .server(name: "other.example.org"), "hostname mismatch"),
        Case(["root"], ["plain"], .server(name: "plain")),
        Case(["root"], ["below", "middle"], .server(name: "mx.example.org")),
    ]

    @Test(arguments: cases) func `a path leads to an anchor or does not`(row: Case) throws {
        let anchors = try TrustAnchors(try MadeCertificates.named(row.anchors))
        let problem = anchors.problem(of: try MadeCertificates.named(row.chain), for: row.purpose)
        if let expected = row.problem {
            #expect(problem?.contains(expected) == true, "\(problem ?? "none")")
        } else {
            #expect(problem == nil)
        }
    }

    @Test func `what is no certificate, or has octets behind it, is none`() throws {
        let root = try MadeCertificates.named("root")
        for octets in [
            [], [0x30], Array(root.dropLast()), root + [0], [UInt8](repeating: 0xFF, count: 99),
        ] {
            #expect(throws: TrustAnchors.Unreadable.self) { try TrustAnchors([octets]) }
            let anchors = try TrustAnchors([root])
            #expect(anchors.problem(of: [octets], for: .client) == "a certificate cannot be read")
            #expect(
                anchors.problem(of: [root, octets], for: .client) == "a certificate cannot be read"
            )
        }
    }
}

@Suite struct DamagedCertificateTests {
    /// A client makes the octets of its certificate up.
    @Test func `a certificate with any octet changed is read or not, and never vouched for`() throws
    {
        let anchors = try TrustAnchors([try MadeCertificates.named("root")])
        let whole = try MadeCertificates.named("server")
        #expect(anchors.problem(of: [whole], for: .server(name: "mx.example.org")) == nil)
        for index in whole.indices {
            for change in [0x01, 0x80, 0xFF] as [UInt8] {
                var damaged = whole
                damaged[index] ^= change
                let problem = anchors.problem(of: [damaged], for: .server(name: "mx.example.org"))
                #expect(problem != nil, "octet \(index), changed by \(change)")
                let identity = CertificateIdentity(damaged)
                #expect(identity.fingerprint.count == 64)
                #expect(
                    (identity.subject ?? "").utf8.count <= CertificateIdentity.maximumNameOctets
                )
            }
        }
        for count in whole.indices {
            let cut = Array(whole.prefix(count))
            #expect(CertificateIdentity(cut).keyFingerprint == nil)
            #expect(anchors.problem(of: [cut], for: .client) == "a certificate cannot be read")
        }
    }
}

@Suite struct CertificateIdentityTests {
    @Test func `names are written as in RFC 4514`() throws {
        let plain = CertificateIdentity(try MadeCertificates.named("plain"))
        #expect(plain.subject == "CN=plain" && plain.issuer == "CN=root,O=Test")
        let named = CertificateIdentity(try MadeCertificates.named("named"))
        #expect(named.subject == #"CN=Jürgen\01,O=A\, B\+C"#)
    }

    @Test func `fingerprints are those of the certificate and of its key`() throws {
        let octets = try MadeCertificates.named("plain")
        let plain = CertificateIdentity(octets)
        let root = CertificateIdentity(try MadeCertificates.named("root"))
        for fingerprint in [plain.fingerprint, plain.keyFingerprint ?? ""] {
            #expect(fingerprint.count == 64)
            #expect(fingerprint.allSatisfy { $0.isHexDigit && !$0.isUppercase })
        }
        let all = [plain.fingerprint, plain.keyFingerprint, root.fingerprint, root.keyFingerprint]
        #expect(Set(all).count == 4)
        #expect(CertificateIdentity(octets) == plain)
    }

    @Test func `what is no certificate has a fingerprint alone`() {
        let none = CertificateIdentity([0x30, 0x00])
        #expect(none.subject == nil && none.issuer == nil && none.keyFingerprint == nil)
        #expect(none.fingerprint.count == 64)
    }
}
