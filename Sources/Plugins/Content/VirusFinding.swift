import PolicyKit

/// What a virus scanner found in a message.
enum VirusFinding: Sendable, Equatable {
    case clean
    /// What it calls the virus, for the reply: printable ASCII, at most 200 octets.
    case infected(String)
    /// Why it cannot tell, for the log.
    case failed(String)

    /// An infection with a name as a scanner wrote it.
    static func infected(named octets: some Sequence<UInt8>) -> Self {
        let name = octets.prefix(200).map { 0x20...0x7E ~= $0 ? $0 : UInt8(ascii: "?") }
        let words = String(decoding: name, as: UTF8.self).split(separator: " ")
        return .infected(words.isEmpty ? "unnamed" : words.joined(separator: " "))
    }
}

/// What the plugins that ask a virus scanner have in common: arguments, fields, replies.
struct VirusPolicy: Sendable {
    private let refusal: Refusal
    private let defersOnError: Bool
    private let scansRelayClients: Bool
    private let scansAll: Bool
    /// The most octets of a message that is scanned.
    let sizeLimit: Int
    private let scanner: String

    /// Reads `deny_viruses`, `defer_on_error`, `max_size`, `scan_all`, `relayclient`, `reject` and `reject_type`.
    ///
    /// - Parameters:
    ///   - configuration: The line.
    ///   - scanner: What the field `X-Virus-Checked` names.
    ///   - refuses: What stands for `deny_viruses`, if the line does not say it.
    ///   - defers: What stands for `defer_on_error`.
    ///   - sizeLimit: What stands for `max_size`, in octets.
    init(
        _ configuration: PluginConfiguration,
        scanner: String,
        refuses: Bool? = nil,
        defers: Bool? = nil,
        sizeLimit: Int? = nil
    ) {
        let denies = configuration.argument("deny_viruses", as: .flag) ?? refuses ?? true
        self.refusal = configuration.refusal(denies ? .reject : .tolerate)
        self.defersOnError =
            configuration.argument("defer_on_error", as: .flag) ?? defers ?? true
        let kibioctets = configuration.argument("max_size", as: .integer(in: 1...1_000_000))
        self.sizeLimit = kibioctets.map { $0 * 1_024 } ?? sizeLimit ?? 25 * 1_048_576
        self.scansAll = configuration.argument("scan_all", as: .flag, default: true)
        self.scansRelayClients = configuration.argument(
            "relayclient",
            as: .choice(["skip": false, "scan": true]),
            default: true
        )
        self.scanner = "\(scanner) on \(configuration.shared.hostname)"
    }

    /// Why this message is not scanned; `nil` if it is.
    func reasonToSkip(_ event: HookEvent<DataPostStage>, _ message: Message) -> String? {
        if event.isImmune, !self.scansRelayClients { return "immune" }
        guard message.size <= Int64(self.sizeLimit) else { return "too large (\(message.size))" }
        guard !self.scansAll else { return nil }
        let isMultipart = event.headers.contains { field in
            let value = field.value.asciiLowercased.octets.drop { $0 <= 0x20 }
            return field.name.equalsIgnoringASCIICase("Content-Type")
                && value.starts(with: "multipart/".utf8)
        }
        return isMultipart ? nil : "not multipart"
    }

    /// Does what the operator wants done after a finding.
    func answer(_ finding: VirusFinding, _ event: HookEvent<DataPostStage>) -> Answer {
        switch finding {
        case .failed(let reason):
            event.error(reason)
            guard self.defersOnError else { return .declined }
            return .denysoft(
                "The message cannot be checked now, try again later",
                status: "4.7.1"
            )

        case .clean:
            self.mark(event, virus: nil)
            return event.pass("clean")

        case .infected(let name):
            event.adjustKarma(by: -1)
            event.notes[.virus] = name
            self.mark(event, virus: name)
            return event.refuse(self.refusal, "Virus found: \(name)", detail: "7.1")
        }
    }

    /// No field that a sender wrote may pass for one of ours, also where nothing is scanned.
    func removeForged(_ event: HookEvent<DataPostStage>) {
        for name in ["X-Virus-Checked", "X-Virus-Found", "X-Virus-Details"]
        where event.headers.contains(where: { $0.name.equalsIgnoringASCIICase(Bytes(name)) }) {
            event.deleteHeaders(named: name)
        }
    }

    private func mark(_ event: HookEvent<DataPostStage>, virus: String?) {
        event.addHeader("X-Virus-Checked", "Checked by \(self.scanner)")
        guard let virus else { return }
        event.addHeader("X-Virus-Details", virus)
        event.addHeader("X-Virus-Found", "Yes")
    }
}

extension NoteKey<String> {
    /// What a virus scanner found in this message.
    static let virus = NoteKey("virus", in: .transaction)
}
