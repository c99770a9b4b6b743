import Octets
package import PolicyKit

/// Decides which clients may relay.
///
/// See README.md.
package struct Relay: ConnectHook, MailHook, RcptHook {
    package static let name = "relay"
    package static let aliases = ["check_relay", "check_norelay", "relay_only"]

    private let refused: ControlFile<[IPNetwork]>
    private let allowed: ControlFile<[IPNetwork]>
    private let moreAllowed: ControlFile<[IPNetwork]>
    private let mapAllowed: ControlFile<[IPNetwork]>
    /// SHA-256 of certificates or of their keys; `nil`: no client may relay by its certificate.
    private let certificates: ControlFile<[String]>?
    private let isExclusive: Bool
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        let only = configuration.argument("only", as: .flag, default: false)
        self.isExclusive = only || configuration.writtenName == "relay_only"
        self.refusal = configuration.refusal()
        self.refused = try configuration.controlFile("norelayclients", line: ControlLine.network)
        self.allowed = try configuration.controlFile("relayclients", line: ControlLine.network)
        self.moreAllowed = try configuration.controlFile(
            "morerelayclients",
            line: ControlLine.network
        )
        self.mapAllowed = try configuration.controlFile(
            "morerelayclients.cdb",
            line: ControlLine.network
        )
        self.certificates = try configuration.argument("certificates", as: .text).map { file in
            try configuration.controlFile(file, line: Self.fingerprint)
        }
    }

    package func subscription(at hook: Hook) -> Subscription? {
        switch hook {
        case .rcpt where !self.isExclusive: nil
        case .mail where self.certificates == nil: nil
        default: Subscription()
        }
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer {
        let address = try event.clientAddress()
        if event.value(of: self.refused).contains(where: { $0.contains(address) }) {
            event.setRelay(false)
            return event.info("in norelayclients")
        }
        guard
            address == Self.loopback
                || event.value(of: self.allowed).contains(where: { $0.contains(address) })
                || event.value(of: self.moreAllowed).contains(where: { $0.contains(address) })
                || event.value(of: self.mapAllowed).contains(where: { $0.contains(address) })
        else { return event.skip("no relay client") }
        event.setRelay(true)
        return event.pass("relay client")
    }

    /// The first hook at which the certificate of a client is known for certain, STARTTLS or not.
    package func mail(_ event: MailEvent) async throws -> Answer {
        guard !event.session.relay, let certificates = self.certificates,
            let shown = event.session.tls?.clientCertificate
        else { return event.skip("no certificate that counts") }
        let listed = event.value(of: certificates)
        guard
            listed.contains(where: { $0 == shown.fingerprint || $0 == shown.keyFingerprint }),
            let address = IPAddress(parsing: event.session.client.ip),
            !event.value(of: self.refused).contains(where: { $0.contains(address) })
        else { return event.skip("no relay client") }
        event.setRelay(true)
        return event.pass("relay client by its certificate")
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        event.session.relay
            ? event.pass("relay client")
            : event.refuse(self.refusal, "Relaying denied", detail: "7.1")
    }

    private static let loopback = IPAddress(parsing: "::1")

    /// A SHA-256 in hexadecimal digits, with colons or without; what follows is the operator's.
    @Sendable
    private static func fingerprint(_ line: ControlLine) throws -> String {
        let digits = (line.words.first ?? "").lowercased().filter { $0 != ":" }
        guard digits.utf8.count == 64, digits.utf8.allSatisfy(\.isHexDigit) else {
            throw line.problem("\(line.text) is no fingerprint by SHA-256 (64 hexadecimal digits)")
        }
        return digits
    }
}
