extension FrontendConfiguration {
    /// `[[listener]]`; one on 127.0.0.1:2525 if the file has none.
    static func listeners(_ reader: TOMLReader, folder: ConfigurationFolder) -> [Listener] {
        let hasAny = reader.has("listener")
        let listeners = reader.tables("listener").compactMap { table in
            let listener = Self.listener(table, folder: folder)
            table.finish()
            return listener
        }
        Self.reportRepeated(listeners, reader)
        if !hasAny {
            return ListenAddress(parsing: "127.0.0.1:2525").map {
                [Listener(name: "default", address: $0)]
            }
                ?? []
        }
        return listeners
    }

    private static func listener(
        _ reader: TOMLReader,
        folder: ConfigurationFolder
    ) -> Listener? {
        let text = reader.string("address")
        let address = text.flatMap(ListenAddress.init(parsing:))
        if address == nil {
            reader.report(
                "address",
                text.map { "\"\($0)\" is not an address and a port" } ?? "is missing",
                remedy: "write \"127.0.0.1:2525\", \"[::]:25\" for both families, or "
                    + "\"unix:/run/gatepost/lmtp.sock\""
            )
        }
        var listener = Listener(
            name: reader.name("name", default: text ?? "default", isChecked: reader.has("name")),
            address: address ?? ListenAddress(host: IPAddress(ipv4: 0), port: 0)
        )
        listener.tls = reader.choice("tls", default: .none)
        listener.requireTLS = reader.bool("require_tls", default: false)
        Self.readClientCertificates(reader, of: &listener, folder: folder)
        Self.readAuth(reader, of: &listener)
        listener.greetingDelayMS = reader.integer(
            "greeting_delay_ms",
            default: 0,
            in: 0...60_000,
            unit: "milliseconds"
        )
        listener.greetingPassTTLMS = reader.integer(
            "greeting_pass_ttl_ms",
            default: listener.greetingPassTTLMS,
            in: 0...(366 * 86_400_000),
            unit: "milliseconds"
        )
        listener.greetingDelayExempt = Self.networks(reader, "greeting_delay_exempt")
        listener.extensions = Self.extensions(reader) ?? listener.extensions
        if listener.extensions.contains(.binaryMIME), !listener.extensions.contains(.chunking) {
            reader.report(
                "extensions",
                "BINARYMIME is of no use without CHUNKING",
                remedy: "add \"CHUNKING\", or remove \"BINARYMIME\""
            )
        }
        Self.readTolerance(reader, of: &listener)
        Self.readProxies(reader, of: &listener)
        Self.readProtocol(reader, of: &listener)
        Self.checkFutureRelease(reader, of: listener)
        listener.backlog = reader.integer("backlog", default: listener.backlog, in: 1...65_535)
        return address == nil ? nil : listener
    }

    /// Reads the `allow_…` keys: what RFC 5321 or RFC 2920 does not allow; all are off by default.
    private static func readTolerance(_ reader: TOMLReader, of listener: inout Listener) {
        func isOn(_ key: String) -> Bool { reader.bool(key, default: false) }
        listener.allowMissingBrackets = isOn("allow_missing_brackets")
        listener.allowSpaceAfterColon = isOn("allow_space_after_colon")
        listener.allowUnderscoreInDomain = isOn("allow_underscore_in_domain")
        listener.allowTrailingDot = isOn("allow_trailing_dot")
        listener.allowDotsInLocalPart = isOn("allow_dots_in_local_part")
        listener.allowAuthParameter = isOn("allow_auth_parameter")
        listener.allowWordsAfterHello = isOn("allow_words_after_hello")
        listener.allowLFCommands = isOn("allow_lf_commands")
        listener.allowOtherProtocols = isOn("allow_other_protocols")
        listener.allowEarlyContent = isOn("allow_early_content")
        listener.allowCommandsAfterBareNewline = isOn("allow_commands_after_bare_newline")
    }

    /// FUTURERELEASE is an extension of submission (RFC 4865 §1, RFC 6409 §4.3).
    private static func checkFutureRelease(_ reader: TOMLReader, of listener: Listener) {
        guard listener.extensions.contains(.futureRelease) else { return }
        guard listener.mailProtocol == .lmtp || !listener.requireAuth else { return }
        reader.report(
            "extensions",
            "FUTURERELEASE is for submission: clients that have to log in",
            remedy: listener.mailProtocol == .lmtp
                ? "remove \"FUTURERELEASE\""
                : "set require_auth = true, or remove \"FUTURERELEASE\""
        )
    }

    static func networks(_ reader: TOMLReader, _ key: String) -> [IPNetwork] {
        (reader.strings(key) ?? []).compactMap { text in
            let network = IPNetwork(parsing: text)
            if network == nil {
                reader.report(
                    key,
                    "\"\(text)\" is not an address or a network",
                    remedy: "write \"192.0.2.0/24\" or \"2001:db8::/32\""
                )
            }
            return network
        }
    }

    private static func extensions(_ reader: TOMLReader) -> Set<SMTPExtension>? {
        let words = SMTPExtension.allCases.map(\.rawValue)
        return reader.strings("extensions").map { texts in
            Set(
                texts.compactMap { text in
                    let found = SMTPExtension(rawValue: text)
                    if found == nil {
                        reader.report(
                            "extensions",
                            "\"\(text)\" is not an extension of this version",
                            remedy: NearestWord.suggestion(for: text, among: words)
                        )
                    }
                    return found
                }
            )
        }
    }

    private static func reportRepeated(_ listeners: [Listener], _ reader: TOMLReader) {
        for (index, listener) in listeners.enumerated() {
            let earlier = listeners[..<index]
            if earlier.contains(where: { $0.name == listener.name }) {
                reader.report(
                    "listener[\(index)].name",
                    "\"\(listener.name)\" names two listeners",
                    remedy: "give each a name of its own"
                )
            }
            if listener.address.port != 0 || listener.address.path != nil,
                earlier.contains(where: { $0.address == listener.address })
            {
                reader.report(
                    "listener[\(index)].address",
                    "\(listener.address) is taken by a listener above",
                    remedy: "remove one"
                )
            }
        }
    }
}
