import Octets
package import PolicyKit

/// Writes what is known of a message's origin into one Authentication-Results field (RFC 8601), and removes
/// those that only pretend to be of this server.
///
/// See README.md.
package struct AuthenticationResultsField: DataPostHook {
    /// What becomes of the fields of other servers.
    private enum Foreign: String, CaseIterable {
        case keep
        case rename
        case remove
    }

    package static let name = "authentication_results"

    private static let fieldName = "Authentication-Results"
    private static let oldFieldName = "Original-Authentication-Results"
    /// The most fields that are removed or renamed one by one: a verdict has 256 actions at most, and the
    /// sender chooses how many fields there are.
    private static let maximumFields = 30
    /// The longest value that is renamed.
    private static let maximumValueOctets = 8_192

    private let server: String
    private let own: OwnResults
    private let foreign: Foreign

    package init(configuration: PluginConfiguration) {
        self.server = configuration.argument(
            "authserv_id",
            as: ArgumentType("a name of visible characters") { word in
                word.isEmpty || word.utf8.contains { $0 <= 0x20 || $0 == .delete } ? nil : word
            },
            default: configuration.shared.hostname
        )
        self.foreign = configuration.argument("foreign", as: .choice, default: .keep)
        self.own = OwnResults(server: self.server)
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(.headers) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        self.clean(event)
        let results = self.results(event)
        let list = results.isEmpty ? " none" : "\r\n\t" + results.joined(separator: ";\r\n\t")
        event.addHeader(Self.fieldName, "\(ResultText.value(self.server.utf8));\(list)")
        return event.pass(results.isEmpty ? "none" : results.joined(separator: "; "))
    }

    // MARK: Fields that came

    /// No field that a sender wrote may pass for ours.
    private func clean(_ event: DataPostEvent) {
        let fields = event.headers.filter {
            $0.name.equalsIgnoringASCIICase(Bytes(Self.fieldName))
        }
        let forged = fields.filter { self.own.claims($0.value.octets) }
        if !forged.isEmpty { event.info("\(forged.count) forged fields removed") }
        guard fields.count <= Self.maximumFields else {
            event.info("\(fields.count) fields are too many: all removed")
            return event.deleteHeaders(named: Self.fieldName)
        }
        for field in fields {
            let isForged = forged.contains { $0.id == field.id }
            if isForged || self.foreign != .keep { event.deleteHeader(field) }
            guard !isForged, self.foreign == .rename,
                field.value.octets.count <= Self.maximumValueOctets
            else { continue }
            event.addHeader(Bytes(Self.oldFieldName), field.value, at: .bottom)
        }
    }

    // MARK: Our results

    private func results(_ event: DataPostEvent) -> [String] {
        var results: [String] = []
        if let iprev = event.notes[.iprev] {
            let address = ResultText.value(event.session.client.ip.utf8)
            results.append("iprev=\(iprev) policy.iprev=\(address)")
        }
        if let login = event.session.authentication {
            let user = Self.user(login.user).map { " smtp.auth=\($0)" } ?? ""
            results.append("auth=pass\(user)")
        }
        results += event.notes[.authenticationResults] ?? []
        return results.filter { result in
            if ParsedResults.isResult(result) { return true }
            event.error("no result by RFC 8601: \(Bytes(result))")
            return false
        }
    }

    /// A user name as a property: an address as it is, anything else as a value.
    ///
    /// - Returns: `nil` if the name has octets that a header may not have.
    private static func user(_ user: Bytes) -> String? {
        let octets = user.octets
        guard !octets.isEmpty, octets.allSatisfy({ (0x20...0x7E).contains($0) && $0 != 0x3B })
        else {
            return nil
        }
        let parts = octets.split(separator: .at, omittingEmptySubsequences: false)
        let isAddress =
            parts.count == 2
            && parts.allSatisfy { part in
                !part.isEmpty
                    && part.allSatisfy { $0.isLetterOrDigit || "+-_.".utf8.contains($0) }
            }
        return isAddress ? user.string : ResultText.value(octets)
    }
}
