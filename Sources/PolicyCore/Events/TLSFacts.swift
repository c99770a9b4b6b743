import JSON

/// How the connection is encrypted.
package struct TLSFacts: Equatable, Sendable {
    /// For example `TLSv1.3`.
    package let version: String
    /// The cipher suite's name in the registry of IANA; `nil` if it could not be told.
    package let cipher: String?
    /// What the client asked for by SNI, in ASCII; `nil` if it named no server.
    package let serverName: String?
    /// What a login can be bound to: `tls-server-end-point` (RFC 5929 §4); `nil` if the certificate has none.
    let serverEndPoint: [UInt8]?

    /// Whether a login can be bound to the certificate.
    package var isBound: Bool { self.serverEndPoint != nil }

    package init(
        version: String,
        cipher: String?,
        serverName: String?,
        serverEndPoint: [UInt8]? = nil
    ) {
        self.serverEndPoint = serverEndPoint
        self.version = version
        self.cipher = cipher
        self.serverName = serverName
    }

    /// Writes the `tls` object of an event.
    func encode(into writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("version")
        writer.string(self.version)
        writer.key("cipher")
        if let cipher = self.cipher { writer.string(cipher) } else { writer.null() }
        writer.key("sni")
        if let name = self.serverName { writer.string(name) } else { writer.null() }
        writer.endObject()
    }
}
