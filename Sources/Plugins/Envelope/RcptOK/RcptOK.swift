import DomainNames
package import PolicyKit

/// Accepts recipients of local domains, and every recipient of a relay client.
///
/// See README.md.
package struct RcptOK: RcptHook {
    package static let name = "rcpt_ok"

    private let ours: LocalDomainFiles
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        self.refusal = configuration.refusal()
        self.ours = try LocalDomainFiles(configuration)
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
        guard self.ours.contain(domain, event) else { return self.refuse(event) }
        event.pass("local domain")
        return .ok
    }

    private func refuse(_ event: RcptEvent) -> Answer {
        event.refuse(self.refusal, "Relaying denied", detail: "7.1")
    }
}

/// The files that say which domains are ours.
struct LocalDomainFiles: Sendable {
    private let files: [ControlFile<LocalDomains>]

    init(_ configuration: PluginConfiguration) throws {
        self.files = [
            try configuration.controlFile("me", parse: LocalDomains.init),
            try configuration.controlFile("rcpthosts", parse: LocalDomains.checked),
            try configuration.controlFile("morercpthosts", parse: LocalDomains.checked),
            try configuration.controlFile("morercpthosts.cdb", parse: LocalDomains.init),
        ]
    }

    /// Whether `domain`, in its canonical spelling, was one of them when the session began.
    func contain<Stage>(_ domain: [UInt8], _ event: HookEvent<Stage>) -> Bool {
        self.files.contains { event.value(of: $0).contains(domain) }
    }
}

/// The domains of a control file: `example.com` alone, `.example.com` for everything below.
struct LocalDomains: Sendable {
    private let names: Set<[UInt8]>
    private let suffixes: Set<[UInt8]>

    @Sendable
    init(_ lines: [ControlLine]) {
        let names = lines.compactMap(\.words.first).map { word in
            word.hasPrefix(".")
                ? Array(".".utf8) + DomainSpelling.canonical(Array(word.utf8.dropFirst()))
                : DomainSpelling.canonical(Array(word.utf8))
        }
        self.names = Set(names.filter { $0.first != UInt8(ascii: ".") })
        self.suffixes = Set(names.filter { $0.first == UInt8(ascii: ".") })
    }

    /// The domains of `lines`.
    ///
    /// - Throws: The problem of the first line that could match no domain, or not all of it.
    @Sendable
    static func checked(_ lines: [ControlLine]) throws -> Self {
        for line in lines {
            let words = line.words
            guard let word = words.first else { continue }
            let name = word.hasPrefix(".") ? word.dropFirst() : word[...]
            guard words.count == 1 || words[1].hasPrefix("#") else {
                throw line.problem("only \(word) would count: write one domain a line")
            }
            let isOdd = name.contains { "@*?/\\^$,;:".contains($0) } && !name.hasPrefix("[")
            guard !isOdd, !name.isEmpty, !name.hasSuffix("."), !name.contains("..") else {
                throw line.problem(
                    "\(word) matches no domain: write example.com, or .example.com for all below it"
                )
            }
        }
        return Self(lines)
    }

    /// Whether `domain`, in its canonical spelling, is one of them.
    func contains(_ domain: [UInt8]) -> Bool {
        if self.names.contains(domain) { return true }
        if self.suffixes.isEmpty { return false }
        return domain.indices.contains { index in
            domain[index] == UInt8(ascii: ".") && self.suffixes.contains(Array(domain[index...]))
        }
    }
}
