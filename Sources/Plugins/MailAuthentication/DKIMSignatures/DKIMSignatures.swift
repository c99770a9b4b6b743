import DKIM
import DKIMKeys
package import PolicyKit

/// Looks at the DKIM signatures of a message, and signs what our own clients send.
///
/// See README.md.
package struct DKIMSignatures: DataPostHook, QueuePreHook {
    package static let name = "dkim"

    private let verifies: Bool
    private let signs: Bool
    private let time: Duration
    private let refusal: Refusal
    private let resolver: any NameResolver
    private let keys: SigningKeys

    package init(configuration: PluginConfiguration) throws {
        let words = configuration.words(["no_sign"])
        let folders = DKIMKeyFolders(configuration.controlFolders)
        self.keys = SigningKeys(folders)
        self.verifies = configuration.argument("verify", as: .flag, default: true)
        let signs = configuration.argument("sign", as: .flag)
        if words.contains("no_sign"), signs == true {
            configuration.record("no_sign and sign 1 contradict each other; write one of them")
        }
        self.signs = !words.contains("no_sign") && (signs ?? folders.isThere)
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100) ... .seconds(60)),
            default: .seconds(10)
        )
        self.refusal = configuration.refusal(.tolerate)
        self.resolver = try configuration.resolver()
        if self.signs {
            for problem in self.keys.problems { configuration.record(problem) }
            if signs == true, !folders.isThere {
                configuration.record(
                    "sign 1, but there is no folder dkim in the configuration; make keys with gatepost dkim genkey"
                )
            }
        }
    }

    package func subscription(at hook: Hook) -> Subscription? {
        switch hook {
        case .data_post: self.verifies ? Subscription(.wholeMessage) : nil
        case .queue_pre: self.signs ? Subscription(.wholeMessage) : nil
        default: nil
        }
    }

    // MARK: Verifying

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        if event.session.relay { return event.skip("a client of our own") }
        let message = try event.message
        let verification = DKIMVerification(
            event.headers.map { SignedField($0) },
            now: event.nowMilliseconds / 1_000
        )
        guard verification.isSigned else {
            event.notes[.dkim] = .array([])
            event.notes[.dkimResult] = "none"
            event.addAuthenticationResult("dkim=none")
            return event.skip("no signature")
        }
        let lookup = SignatureLookup(
            resolver: self.resolver,
            deadline: .now + min(self.time, event.workingTime)
        )
        let found = try await lookup.find(
            verification.keyNames,
            verification.bodyHashes,
            of: message.body
        )
        // Ten signatures of large headers are work for a thread.
        let results = try await withBlockingThread {
            verification.results(keys: found.keys, bodies: found.bodies)
        }
        return self.judge(results, event)
    }

    private func judge(_ results: [DKIMResult], _ event: DataPostEvent) -> Answer {
        let overall = Self.overall(results)
        event.notes[.dkim] = .array(results.map(\.note))
        event.notes[.dkimResult] = overall.rawValue
        let domains = results.filter { $0.result == .pass }.compactMap { $0.domain?.domain.text }
        event.notes[.dkimPassDomains] = domains
        for result in results { event.addAuthenticationResult(result.text) }
        let words = results.map(\.logged).joined(separator: "; ")
        switch overall {
        case .pass:
            event.adjustKarma(by: 1)
            return event.pass(words)

        case .temperror: return event.error(words)
        case .neutral: return event.info(words)
        case .fail, .policy, .permerror:
            event.info(words)
            event.adjustKarma(by: -1)
            if event.isImmune { return event.skip("immune") }
            // RFC 7372 §3.1
            return event.refuse(
                self.refusal,
                "No passing DKIM signature found",
                detail: "7.20",
                code: 550
            )
        }
    }

    /// What all signatures together are worth: one that passes is enough.
    private static func overall(_ results: [DKIMResult]) -> SignatureResult {
        let order: [SignatureResult] = [.pass, .temperror, .neutral, .policy, .fail, .permerror]
        return order.first { result in results.contains { $0.result == result } } ?? .permerror
    }

    // MARK: Signing

    package func queuePre(_ event: QueuePreEvent) async throws -> Answer {
        guard event.session.relay || event.session.authentication != nil else {
            return event.skip("no client of our own")
        }
        let message = try event.message
        let fields = event.headers.map { SignedField($0) }
        let authors = event.headers.filter { $0.name.equalsIgnoringASCIICase("From") }
        guard authors.count == 1, let domain = AuthorDomain.first(in: authors[0].value.octets)
        else { return event.skip("no From field with one domain") }
        let keys = self.keys
        let found = try await withBlockingThread { try keys.keys(for: domain) }
        if found.isEmpty { return event.skip("\(domain) has no key") }
        let bodies = try await DKIMSigning.bodyHashes.hashed(message.body)
        let signing = DKIMSigning(fields, now: event.nowMilliseconds / 1_000)
        let values = try await withBlockingThread {
            try found.map { key in
                guard let value = signing.value(key.key, key.domain, bodies: bodies) else {
                    throw PluginError("\(key.domain.keyName): the key cannot sign")
                }
                return value
            }
        }
        for value in values {
            event.addHeader("DKIM-Signature", Bytes(octets: value))
        }
        return event.pass(found.map { "signed by \($0.domain.keyName)" }.joined(separator: ", "))
    }
}

extension NoteKey<String> {
    /// What the signatures of this message are worth together; `none`: there is none.
    static let dkimResult = NoteKey("dkim_result", in: .transaction)
}

extension NoteKey<[String]> {
    /// The domains whose signatures pass.
    static let dkimPassDomains = NoteKey("dkim_pass_domains", in: .transaction)
}

extension DKIMResult {
    fileprivate var note: JSONValue {
        var members: [String: JSONValue] = ["result": .string(self.result.rawValue)]
        if let domain = self.domain {
            members["domain"] = .string(domain.domain.text)
            members["selector"] = .string(domain.selector)
            members["identity"] = .string(self.identity ?? "@\(domain.domain.text)")
        }
        if let algorithm = self.algorithm { members["algorithm"] = .string(algorithm.rawValue) }
        return .object(members)
    }

    /// As RFC 8601 §2.2 has it.
    ///
    /// Names and algorithms are tokens; `header.b` is not.
    fileprivate var text: String {
        var text = "dkim=\(self.result.rawValue)"
        if let reason = self.reason { text += " reason=\"\(reason.replacing(";", with: ","))\"" }
        if let domain = self.domain {
            text += " header.d=\(domain.domain.text) header.s=\(domain.selector)"
        }
        if let algorithm = self.algorithm { text += " header.a=\(algorithm.rawValue)" }
        if let prefix = self.prefix { text += " header.b=\"\(prefix)\"" }
        return text
    }

    fileprivate var logged: String {
        let name = self.domain.map { "\($0.domain) " } ?? ""
        return "\(name)\(self.result.rawValue)\(self.reason.map { ": \($0)" } ?? "")"
    }
}
