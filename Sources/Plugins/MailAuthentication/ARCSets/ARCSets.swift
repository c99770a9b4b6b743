import DKIM
package import PolicyKit

/// Looks at the chain of ARC sets that servers on the way have left in a message.
///
/// See README.md.
package struct ARCSets: DataPostHook {
    package static let name = "arc"

    private let time: Duration
    private let resolver: any NameResolver

    package init(configuration: PluginConfiguration) throws {
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100) ... .seconds(60)),
            default: .seconds(10)
        )
        self.resolver = try configuration.resolver()
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(.wholeMessage) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        if event.session.relay { return event.skip("a client of our own") }
        let message = try event.message
        let verification = ARCVerification(event.headers.map { SignedField($0) })
        let lookup = SignatureLookup(
            resolver: self.resolver,
            deadline: .now + min(self.time, event.workingTime)
        )
        let found = try await lookup.find(
            verification.keyNames,
            verification.bodyHashes,
            of: message.body
        )
        // Fifty seals over fifty sets are work for a thread.
        let result = try await withBlockingThread {
            verification.result(keys: found.keys, bodies: found.bodies)
        }
        event.notes[.arc] = result.note
        switch result.status {
        case .none: return event.skip("no ARC set")
        case .pass:
            event.addAuthenticationResult("arc=pass")
            return event.pass(result.logged)

        case .fail:
            let reason = result.reason.map { " reason=\"\($0.replacing(";", with: ","))\"" } ?? ""
            event.addAuthenticationResult("arc=fail\(reason)")
            return event.info("fail: \(result.reason ?? "") \(result.logged)")
        }
    }
}

extension ARCResult {
    fileprivate var note: JSONValue {
        var members: [String: JSONValue] = [
            "result": .string(self.status.rawValue), "instances": .int(Int64(self.instances)),
        ]
        if let domain = self.domain { members["domain"] = .string(domain.text) }
        return .object(members)
    }

    fileprivate var logged: String {
        "\(self.instances) sets\(self.domain.map { ", sealed by \($0)" } ?? "")"
    }
}
