/// A cipher suite of TLS, by its number and its name in the registry of IANA.
package struct TLSCipher: Sendable, Hashable, CustomStringConvertible {
    package let code: UInt16
    /// For example `TLS_AES_128_GCM_SHA256`.
    package let description: String

    private init(_ code: UInt16, _ name: String) {
        self.code = code
        self.description = name
    }

    /// Those of TLS 1.2 that may stand in `tls.ciphers`, best first.
    package static let configurable: [Self] = [
        Self(0xC02B, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        Self(0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        Self(0xC02C, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        Self(0xC030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
        Self(0xCCA9, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        Self(0xCCA8, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
        Self(0xC009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
        Self(0xC013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
        Self(0xC00A, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
        Self(0xC014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
        Self(0x009C, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
        Self(0x009D, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
        Self(0x002F, "TLS_RSA_WITH_AES_128_CBC_SHA"),
        Self(0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    ]

    /// The default of `tls.ciphers`: those with forward secrecy.
    package static let standard = configurable.filter { $0.description.hasPrefix("TLS_ECDHE_") }

    /// Those of TLS 1.3, which are always on.
    private static let always: [Self] = [
        Self(0x1301, "TLS_AES_128_GCM_SHA256"), Self(0x1302, "TLS_AES_256_GCM_SHA384"),
        Self(0x1303, "TLS_CHACHA20_POLY1305_SHA256"),
    ]

    private static let byCode = Dictionary(
        uniqueKeysWithValues: (configurable + always).map { ($0.code, $0) }
    )

    /// The suite with this number; `nil` if it is none that a session here can have.
    package init?(code: UInt16) {
        guard let found = Self.byCode[code] else { return nil }
        self = found
    }

    /// A suite that may stand in `tls.ciphers`.
    package init?(name: String) {
        guard let found = Self.configurable.first(where: { $0.description == name }) else {
            return nil
        }
        self = found
    }
}
