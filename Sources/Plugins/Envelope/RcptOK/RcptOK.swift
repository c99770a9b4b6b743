import DomainNames
package import PolicyKit

/// Accepts recipients of local domains, and every recipient of a relay client.
///
/// See README.md.
package struct RcptOK: RcptHook {
    package static let name = "rcpt_ok"

    private let domains: LocalDomainFiles
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.refusal = configuration.refusal()
        self.domains = try LocalDomainFiles(configuration)
    }

    package func rcpt(_ event: RcptEvent) async throws -> Answer {
        if event.session.relay {
            event.pass("relay client")
            return .ok
        }
        let recipient = event.recipient
        if recipient.domain.octets.isEmpty {
            guard recipient.local.equalsIgnoringASCIICase("postmaster") else {
                return self.refuse(event)
            }
            event.pass("postmaster")
            return .ok
        }
        let domain = DomainSpelling.canonical(recipient.domain.octets)
        guard self.domains.contains(domain, event) else { return self.refuse(event) }
        event.pass("local domain")
        return .ok
    }

    private func refuse(_ event: RcptEvent) -> Answer {
        event.refuse(self.refusal, "Relaying denied", detail: "7.1")
    }
}
