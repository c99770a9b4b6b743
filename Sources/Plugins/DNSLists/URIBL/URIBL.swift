package import PolicyKit
import PublicSuffixes

/// Looks up the hosts that a message names, in URIs and outside of them, in lists of the DNS.
///
/// See README.md.
package struct URIBL: DataPostHook {
    package static let name = "uribl"

    /// The most hosts that are looked up for one message.
    static let maximumNames = 50
    /// The most octets of text that are searched.
    private static let maximumText = 2_097_152
    private static let field = "X-URIBL-Match"

    private let action: URIZone.Action
    private let scansHeaders: Bool
    private let checksAddresses: Bool
    private let sizeLimit: Int
    private let refusal: Refusal
    private let zones: ControlFile<[URIZone]>
    private let whitelist: ControlFile<Set<DNSName>>
    private let suffixes: PublicSuffixFile
    private let lists: ListArguments

    package init(configuration: PluginConfiguration) throws {
        self.action = configuration.argument("action", as: .choice, default: .addHeader)
        let checkHeaders = configuration.argument("check-headers", as: .flag)
        let scanHeaders = configuration.argument("scan-headers", as: .flag)
        if checkHeaders != nil, scanHeaders != nil {
            configuration.record("check-headers and scan-headers are the same; write one")
        }
        self.scansHeaders = checkHeaders ?? scanHeaders ?? false
        self.checksAddresses = configuration.argument("checkip", as: .flag, default: true)
        self.sizeLimit = configuration.argument(
            "size_limit",
            as: .integer(in: 1...33_554_432),
            default: 1_048_576
        )
        self.refusal = configuration.refusal()
        self.suffixes = try PublicSuffixFile(configuration)
        self.lists = try ListArguments(configuration)
        self.zones = try configuration.controlFile("uribl_zones", parse: URIZone.zones)
        self.whitelist = try configuration.controlFile("uribl_whitelist_domains") { lines in
            Set(
                try lines.map { line in
                    guard let name = DNSName(line.text), !name.isRoot else {
                        throw line.problem("\(line.text) is no domain")
                    }
                    return name
                }
            )
        }
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(.wholeMessage) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        let zones = event.value(of: self.zones)
        if zones.isEmpty { return event.skip("no lists in uribl_zones") }
        if event.isImmune { return event.skip("immune") }
        let hosts = try await self.hosts(in: try event.message)
        let subjects = self.subjects(
            hosts,
            whitelist: event.value(of: self.whitelist),
            try await self.suffixes.list()
        )
        if subjects.isEmpty { return event.skip("no hosts") }
        let answers = await self.lists.ask(zones.map(\.list), about: subjects, event)
        return self.decide(self.matches(answers, zones), of: subjects.count, event)
    }

    // MARK: Hosts

    /// The hosts of the parts that are text, and of the subject if it is to be read.
    ///
    /// Of a message with more than `size_limit` octets its beginning is read.
    private func hosts(in message: Message) async throws -> URIHosts {
        var octets = message.header
        for try await chunk in message.body where octets.count < self.sizeLimit { octets += chunk }
        let beginning = Array(octets.prefix(max(self.sizeLimit, message.header.count)))
        let scansHeaders = self.scansHeaders
        return try await withBlockingThread {
            var hosts = URIHosts()
            let mime = MIMEMessage(beginning)
            if scansHeaders {
                for field in mime.root.fields where field.name.equalsIgnoringASCIICase("Subject") {
                    hosts.read(Array(field.text.utf8), isHTML: false)
                }
            }
            var room = Self.maximumText
            for part in mime.parts where part.parts.isEmpty && part.type.hasPrefix("text/") {
                // Names are ASCII in nearly all character sets, also in those that are not known here.
                let text = part.text().map { Array($0.utf8) } ?? part.content()
                hosts.read(Array(text.prefix(room)), isHTML: part.type == "text/html")
                room -= min(room, text.count)
            }
            return hosts
        }
    }

    /// What is looked up: first the registered domains and addresses, those in URIs before others; then, if there is
    /// room, the whole names.
    private func subjects(
        _ hosts: URIHosts,
        whitelist: Set<DNSName>,
        _ suffixes: PublicSuffixList
    ) -> [ListSubject] {
        var domains: [ListSubject] = []
        var names: [ListSubject] = []
        for (index, host) in (hosts.inURIs + hosts.bare).enumerated() {
            switch host {
            case .address(let address):
                guard self.checksAddresses, !PrivateNetworks.contains(address) else { continue }
                domains.append(.address(address))

            case .name(let name):
                let isBare = index >= hosts.inURIs.count
                guard !isBare || suffixes.knowsTopLevel(of: name),
                    let domain = suffixes.registeredDomain(of: name),
                    !name.selfAndParents.contains(where: { whitelist.contains($0) })
                else { continue }
                domains.append(.domain(domain))
                if name != domain { names.append(.domain(name)) }
            }
        }
        var seen: Set<ListSubject> = []
        let all = (domains + names).filter { seen.insert($0).inserted }
        return Array(all.prefix(Self.maximumNames))
    }

    // MARK: Matches

    /// A host that a list has.
    private struct Match {
        let action: URIZone.Action
        let text: String
    }

    private func matches(_ answers: [ListAnswer], _ zones: [URIZone]) -> [Match] {
        answers.compactMap { answer in
            guard case .listed(let codes, let text) = answer.finding,
                let zone = zones.first(where: { $0.list.zone == answer.list.zone }),
                let code = codes.first(where: { zone.counts($0) })
            else { return nil }
            return Match(
                action: zone.action ?? self.action,
                text: "\(answer.subject) in \(zone.list.zone): \(text ?? "\(code)")"
            )
        }
    }

    private func decide(_ matches: [Match], of count: Int, _ event: DataPostEvent) -> Answer {
        event.deleteHeaders(named: Self.field)
        guard !matches.isEmpty else { return event.pass("\(count) hosts") }
        event.notes[.uribl] = matches.map(\.text)
        event.adjustKarma(by: -1)
        for match in matches where match.action == .addHeader {
            event.addHeader(Self.field, match.text)
        }
        let refusing =
            matches.first { $0.action == .deny } ?? matches.first { $0.action == .denysoft }
        guard let refusing else {
            return event.info("fail, \(matches.map(\.text).joined(separator: "; "))")
        }
        let type = refusing.action == .denysoft ? RefusalType.temp : self.refusal.type
        return event.refuse(
            Refusal(self.refusal.mode, type),
            "The message names \(refusing.text)",
            detail: "7.1"
        )
    }
}

extension NoteKey<[String]> {
    /// The hosts of the message that lists have, as in `evil.example in list.example: why`.
    static let uribl = NoteKey("uribl", in: .transaction)
}
