import Testing

@testable import Configuration

/// `[tls]`, and the keys of a listener that belong to it.
@Suite struct TLSConfigurationTests {
    let folder = TestFolder()

    @Test func `every key is read`() throws {
        let configuration = try self.folder.frontend(
            """
            [tls]
            minimum_version = "1.3"
            ciphers = ["TLS_RSA_WITH_AES_128_GCM_SHA256"]
            handshake_timeout_ms = 5000
            reload_ms = 0
            [[tls.certificate]]
            chain = "tls/mx.pem"
            key = "/etc/ssl/mx.key"
            names = ["MX1.example.com"]
            [[listener]]
            address = "127.0.0.1:2525"
            tls = "starttls"
            require_tls = true
            [[listener]]
            address = "127.0.0.1:2465"
            tls = "implicit"
            client_certificates = "request"
            [[listener]]
            address = "127.0.0.1:2466"
            tls = "implicit"
            client_certificates = "require"
            client_ca_file = "tls/clients.pem"
            """
        )
        let clients = configuration.listeners.map(\.clientCertificates)
        #expect(clients.map(\.demand) == [.none, .request, .require])
        let authorities = "\(self.folder.base)/tls/clients.pem"
        #expect(clients.map(\.authorityFile) == [nil, nil, authorities])
        #expect(
            configuration.tlsFiles
                == ["\(self.folder.base)/tls/mx.pem", "/etc/ssl/mx.key", authorities]
        )
        let tls = configuration.tls
        #expect(tls.minimumVersion == .tls13)
        #expect(tls.ciphers.map(\.code) == [0x009C])
        #expect(tls.handshakeTimeoutMS == 5_000 && tls.reloadMS == 0)
        #expect(
            tls.certificates == [
                FrontendConfiguration.TLS.Certificate(
                    chain: "\(self.folder.base)/tls/mx.pem",
                    key: "/etc/ssl/mx.key",
                    names: ["mx1.example.com"]
                )
            ]
        )
        #expect(configuration.listeners.map(\.tls) == [.starttls, .implicit, .implicit])
        #expect(configuration.listeners.map(\.requireTLS) == [true, false, false])
    }

    @Test func `the defaults have forward secrecy and TLS 1.2`() throws {
        let tls = try self.folder.frontend("").tls
        #expect(tls == FrontendConfiguration.TLS())
        #expect(tls.minimumVersion == .tls12 && tls.certificates.isEmpty)
        #expect(
            tls.ciphers.count == 10 && tls.ciphers.allSatisfy { $0.description.contains("ECDHE") }
        )
    }

    @Test(arguments: [
        ("[[listener]]\naddress = \"[::]:25\"\ntls = \"starttls\"", "listener[0].tls"),
        ("[[listener]]\naddress = \"[::]:25\"\nrequire_tls = true", "listener[0].require_tls"),
        ("[tls]\nciphers = [\"TLS_AES_128_GCM_SHA256\"]", "tls.ciphers"),
        ("[tls]\nciphers = [\"ALL:!aNULL\"]", "tls.ciphers"),
        ("[tls]\nciphers = []", "tls.ciphers"),
        ("[tls]\nminimum_version = \"1.1\"", "tls.minimum_version"),
        ("[[tls.certificate]]\nchain = \"a\"", "tls.certificate[0].key"),
        ("[[tls.certificate]]\nkey = \"a\"", "tls.certificate[0].chain"),
        ("[tls]\nhandshake_timeout_ms = 1", "tls.handshake_timeout_ms"),
        (
            "[[listener]]\naddress = \"[::]:25\"\nclient_certificates = \"request\"",
            "listener[0].client_certificates"
        ),
        (
            "[[listener]]\naddress = \"[::]:25\"\nclient_ca_file = \"a\"",
            "listener[0].client_ca_file"
        ),
        (
            Self.withTLS("implicit", "client_certificates = \"require\""),
            "listener[0].client_certificates"
        ),
        (
            Self.withTLS("implicit", "client_certificates = \"yes\""),
            "listener[0].client_certificates"
        ),
        (
            Self.withTLS("starttls", "client_certificates = \"require\"\nclient_ca_file = \"a\""),
            "listener[0].client_certificates"
        ),
    ])
    func `a mistake is named`(toml: String, key: String) throws {
        let problems = self.folder.frontendProblems(toml)
        #expect(problems.count == 1)
        #expect(problems.first?.contains(" \(key): ") == true)
    }

    /// A listener with a certificate and more lines.
    private static func withTLS(_ mode: String, _ lines: String) -> String {
        let certificate = "[[tls.certificate]]\nchain = \"a\"\nkey = \"b\"\n"
        return certificate + "[[listener]]\naddress = \"[::]:25\"\ntls = \"\(mode)\"\n\(lines)"
    }

    @Test func `each cipher suite has one number and one name`() {
        let all = TLSCipher.configurable
        #expect(Set(all.map(\.code)).count == all.count)
        #expect(Set(all.map(\.description)).count == all.count)
        for cipher in all {
            #expect(TLSCipher(code: cipher.code) == cipher)
            #expect(TLSCipher(name: cipher.description) == cipher)
        }
        #expect(TLSCipher(code: 0x1301)?.description == "TLS_AES_128_GCM_SHA256")
        #expect(TLSCipher(code: 0x0000) == nil && TLSCipher(name: "TLS_AES_128_GCM_SHA256") == nil)
    }
}
