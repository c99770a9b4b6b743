extension FrontendConfiguration {
    /// `client_certificates` and `client_ca_file` of a listener.
    package struct ClientCertificates: Sendable, Hashable {
        package var demand: Demand = .none
        /// `client_ca_file`, absolute: the authorities that vouch for clients, in PEM; `nil`: no certificate is
        /// ever verified.
        package var authorityFile: String?

        package init() {}

        package enum Demand: String, Sendable, CaseIterable {
            /// Clients are not asked.
            case none
            /// A client may show a certificate, of any authority or none.
            case request
            /// A client must show a certificate that one of the authorities vouches for.
            case require
        }
    }

    /// Reads the keys about the certificates of clients, after those about TLS.
    static func readClientCertificates(
        _ reader: TOMLReader,
        of listener: inout Listener,
        folder: ConfigurationFolder
    ) {
        var certificates = ClientCertificates()
        certificates.demand = reader.choice("client_certificates", default: .none)
        if reader.has("client_ca_file") {
            certificates.authorityFile = folder.path(reader, "client_ca_file", default: "")
        }
        listener.clientCertificates = certificates
        switch certificates.demand {
        case .none:
            if certificates.authorityFile != nil {
                reader.report(
                    "client_ca_file",
                    "has no effect: no client is asked for a certificate",
                    remedy:
                        "write client_certificates = \"request\" or \"require\", or remove the line"
                )
            }
        case .request, .require:
            if listener.tls == .none {
                reader.report(
                    "client_certificates",
                    "no client of this listener can use TLS",
                    remedy: "write tls = \"starttls\" or \"implicit\", or remove the line"
                )
            }
        }
        guard certificates.demand == .require else { return }
        if certificates.authorityFile == nil {
            reader.report(
                "client_certificates",
                "\"require\" needs client_ca_file: without it no certificate can be verified",
                remedy:
                    "name a PEM file with the authorities of your clients, or write \"request\" and let a "
                    + "plugin decide by fingerprints"
            )
        }
        if listener.tls == .starttls, !listener.requireTLS {
            reader.report(
                "client_certificates",
                "\"require\" needs require_tls: without it a client without STARTTLS needs no certificate",
                remedy: "write require_tls = true"
            )
        }
    }
}
