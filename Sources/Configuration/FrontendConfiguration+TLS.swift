extension FrontendConfiguration {
    /// `[tls]`: what the listeners with `tls = "starttls"` or `"implicit"` share.
    package struct TLS: Sendable, Equatable {
        /// `[[tls.certificate]]`, in the order of the file; the first is the default.
        package var certificates: [Certificate] = []
        /// `minimum_version`.
        package var minimumVersion: Version = .tls12
        /// `ciphers` of TLS 1.2; those of TLS 1.3 are always on.
        package var ciphers = TLSCipher.standard
        /// `handshake_timeout_ms`.
        package var handshakeTimeoutMS: Int64 = 30_000
        /// `reload_ms`: how often the files are looked at; 0 is only at SIGHUP.
        package var reloadMS: Int64 = 60_000

        package init() {}

        package enum Version: String, Sendable, CaseIterable {
            case tls12 = "1.2"
            case tls13 = "1.3"
        }

        /// `[[tls.certificate]]`.
        package struct Certificate: Sendable, Equatable {
            /// `chain`, absolute: PEM, the server's own certificate first.
            package var chain: String
            /// `key`, absolute: PEM.
            package var key: String
            /// `names` that a client asks for by SNI, in lower case, perhaps `*.example.org`; empty:
            /// the names in the certificate.
            package var names: [String]

            package init(chain: String, key: String, names: [String] = []) {
                self.chain = chain
                self.key = key
                self.names = names
            }
        }
    }

    /// The files that TLS needs: certificates, keys, and the authorities of clients.
    package var tlsFiles: [String] {
        self.tls.certificates.flatMap { [$0.chain, $0.key] }
            + self.listeners.compactMap(\.clientCertificates.authorityFile)
    }

    static func tls(_ reader: TOMLReader, folder: ConfigurationFolder) -> TLS {
        let table = reader.subtable("tls")
        defer { table.finish() }
        var tls = TLS()
        tls.certificates = table.tables("certificate").compactMap { entry in
            defer { entry.finish() }
            return Self.certificate(entry, folder: folder)
        }
        tls.minimumVersion = table.choice("minimum_version", default: tls.minimumVersion)
        tls.ciphers = Self.ciphers(table) ?? tls.ciphers
        tls.handshakeTimeoutMS = table.integer(
            "handshake_timeout_ms",
            default: tls.handshakeTimeoutMS,
            in: 1_000...600_000,
            unit: "milliseconds"
        )
        tls.reloadMS = table.milliseconds("reload_ms", default: tls.reloadMS)
        return tls
    }

    private static func certificate(
        _ reader: TOMLReader,
        folder: ConfigurationFolder
    ) -> TLS.Certificate? {
        let names = reader.strings("names") ?? []
        for key in ["chain", "key"] where !reader.has(key) {
            reader.report(key, "is missing", remedy: "name a PEM file")
        }
        guard reader.has("chain"), reader.has("key") else { return nil }
        return TLS.Certificate(
            chain: folder.path(reader, "chain", default: ""),
            key: folder.path(reader, "key", default: ""),
            names: names.map { $0.lowercased() }
        )
    }

    private static func ciphers(_ reader: TOMLReader) -> [TLSCipher]? {
        guard let names = reader.strings("ciphers") else { return nil }
        let words = TLSCipher.configurable.map(\.description)
        let ciphers = names.compactMap { name in
            let found = TLSCipher(name: name)
            if found == nil {
                reader.report(
                    "ciphers",
                    "\"\(name)\" is not a cipher suite of TLS 1.2 that can be chosen",
                    remedy: NearestWord.suggestion(for: name, among: words)
                )
            }
            return found
        }
        if names.isEmpty {
            reader.report("ciphers", "is empty", remedy: "remove the line for the default")
        }
        return ciphers
    }

    /// Reports listeners whose `tls` needs a certificate that is not there.
    func checkTLS(_ reader: TOMLReader) {
        for (index, listener) in self.listeners.enumerated() {
            if listener.tls != .none, self.tls.certificates.isEmpty {
                reader.report(
                    "listener[\(index)].tls",
                    "\"\(listener.tls.rawValue)\" needs a certificate",
                    remedy: "add [[tls.certificate]] with chain and key"
                )
            }
            if listener.requireTLS, listener.tls == .none {
                reader.report(
                    "listener[\(index)].require_tls",
                    "no client of this listener can use TLS",
                    remedy: "write tls = \"starttls\", or remove the line"
                )
            }
        }
    }
}
