internal import COpenSSL

/// Certificates that vouch for others: the trust anchors of RFC 5280 §6.
///
/// `@unchecked`: the store is filled in the initialiser; OpenSSL locks what changes in it later.
package final class TrustAnchors: @unchecked Sendable {
    /// What a certificate is shown for (RFC 5280 §4.2.1.12).
    package enum Purpose: Sendable, Equatable {
        /// A client shows it to a server.
        case client
        /// A server shows it to a client that wants this DNS name; `nil`: any name will do.
        case server(name: String?)
    }

    /// A certificate is none, or the library has no memory.
    package struct Unreadable: Error {}

    private let store: OpaquePointer

    /// - Parameter certificates: In DER. Each ends a path, even if another authority signed it. An intermediate
    ///   authority vouches for what it signed; a single certificate vouches for itself.
    /// - Throws: ``Unreadable``.
    package init(_ certificates: [[UInt8]]) throws(Unreadable) {
        guard let store = gatepost_anchors_new() else { throw Unreadable() }
        self.store = store
        for certificate in certificates {
            guard gatepost_anchors_add(store, certificate, certificate.count) == 1 else {
                throw Unreadable()
            }
        }
    }

    deinit { gatepost_anchors_free(self.store) }

    /// Why no valid path leads from a certificate to an anchor (RFC 5280 §6.1).
    ///
    /// Dates, purposes and the limits of authorities are checked, and the strength of keys and digests: no MD5
    /// or SHA-1, and RSA from 1024 bits. Whether a certificate was revoked is not looked up.
    ///
    /// - Parameters:
    ///   - chain: What the peer showed, in DER: its own certificate first, the others in any order.
    ///   - purpose: What for.
    /// - Returns: The reason in English; `nil` if the path is valid.
    package func problem(of chain: [[UInt8]], for purpose: Purpose) -> String? {
        let (use, name): (Int, String?) =
            switch purpose {
            case .client: (gatepost_purpose_client, nil)
            case .server(let name): (gatepost_purpose_server, name)
            }
        let problem = Self.withOptional(name) { name in
            gatepost_anchors_validate(
                self.store,
                chain.flatMap(\.self),
                chain.map(\.count),
                chain.count,
                CInt(use),
                name
            )
        }
        return problem.map { String(cString: $0) }
    }

    private static func withOptional<Result>(
        _ text: String?,
        _ body: (UnsafePointer<CChar>?) -> Result
    ) -> Result {
        guard let text else { return body(nil) }
        return text.withCString { body($0) }
    }
}
