import LDAPClient
import NIOCore
import PolicyKit

/// Searches a directory: an entry that matches the filter tells.
struct DirectorySource: RecipientSource {
    let name: String
    private let settings: LDAPSettings
    private let filter: RecipientTemplate
    private let eventLoop: any EventLoop

    /// - Throws: That the line names no directory, or what is wrong with it.
    init(_ configuration: PluginConfiguration) throws {
        let url = try configuration.requiredPositional("url", as: .directory)
        let filter = configuration.argument(
            "ldap_filter",
            as: .filter,
            default: .mail
        )
        self.filter = filter.template
        self.settings = try LDAPSettings(configuration, at: (url.host, url.isEncrypted))
        self.name = "\(url.text) \(filter.text)"
        self.eventLoop = configuration.shared.eventLoop
    }

    func finding(
        _ recipient: AskedRecipient,
        until deadline: ContinuousClock.Instant
    ) async -> RecipientFinding {
        let filter = self.filter.filled(recipient, LDAPFilter.escaped)
        let login = self.settings.login
        let stop = LDAPStop()
        let time = max(.milliseconds(1), deadline - .now)
        let end = self.eventLoop.scheduleTask(in: TimeAmount(time)) { stop.stop() }
        defer { end.cancel() }
        let search = await onThreadOfItsOwn { login.search(filter, until: deadline, stop) }
        return switch search {
        case .found: .exists
        case .some(.none): .noMailbox
        case .putOff(let reason): .unknown(reason, isOut: true)
        case nil: .unknown("no thread for it", isOut: true)
        }
    }
}

/// Where a directory is.
private struct DirectoryURL: Sendable {
    let text: String
    let host: String
    let isEncrypted: Bool
}

/// A search filter as it was written.
private struct DirectoryFilter: Sendable {
    static let mail = Self(
        text: "(mail={address})",
        template: RecipientTemplate(pieces: [.text("(mail="), .address, .text(")")])
    )

    let text: String
    let template: RecipientTemplate
}

extension ArgumentType<DirectoryURL> {
    fileprivate static var directory: Self {
        Self("ldap://HOST, ldap://HOST:PORT, ldaps://HOST, ldaps://HOST:PORT or /SOCKET") { word in
            let lowerCased = word.lowercased()
            let isEncrypted = lowerCased.hasPrefix("ldaps://")
            var host = word[...]
            if !word.hasPrefix("/") {
                guard isEncrypted || lowerCased.hasPrefix("ldap://") else { return nil }
                host = word.dropFirst(isEncrypted ? 8 : 7)
                if host.hasSuffix("/") { host = host.dropLast() }
                guard !host.hasPrefix("/") else { return nil }
            }
            guard ServerAddress(String(host), defaultPort: 389) != nil else { return nil }
            return DirectoryURL(text: word, host: String(host), isEncrypted: isEncrypted)
        }
    }
}

extension ArgumentType<DirectoryFilter> {
    fileprivate static var filter: Self {
        Self("a filter with {address} or {local} in it, as in (mail={address})") { word in
            guard let template = RecipientTemplate(word), template.hasRecipient,
                word.hasPrefix("("), word.hasSuffix(")"), Self.isBalanced(word)
            else { return nil }
            return DirectoryFilter(text: word, template: template)
        }
    }

    private static func isBalanced(_ word: String) -> Bool {
        var depth = 0
        for (index, character) in zip(word.indices, word) {
            if character == "(" { depth += 1 }
            if character == ")" { depth -= 1 }
            // Only the last one closes the first.
            if depth <= 0, word.index(after: index) != word.endIndex { return false }
        }
        return depth == 0
    }
}
