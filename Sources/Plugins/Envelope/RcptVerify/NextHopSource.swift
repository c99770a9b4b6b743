import NIOCore
import PolicyKit

/// Asks the server behind by `MAIL`, `RCPT` and `RSET`, without a message.
struct NextHopSource: RecipientSource {
    let name: String
    private let route: [ServerAddress]
    private let sender: [UInt8]
    private let hops: NextHops

    /// - Parameters:
    ///   - configuration: The plugin's line.
    ///   - dialect: What the servers speak.
    ///   - route: The servers, in the order in which they are tried; not empty.
    ///   - limits: How they are asked.
    init(
        _ configuration: PluginConfiguration,
        _ dialect: SMTPClientMachine.Dialect,
        _ route: [ServerAddress],
        _ limits: RcptVerify.Limits
    ) {
        self.route = route
        self.name = route.map { "\($0)" }.joined(separator: ",")
        self.sender = configuration.argument("sender", as: .reversePath, default: [])
        var settings = NextHops.Settings()
        settings.limits.connections = limits.atOnce
        settings.limits.connectTime = TimeAmount(min(limits.time, .seconds(10)))
        settings.hopTime = TimeAmount(limits.time / max(1, route.count))
        settings.restTime = TimeAmount(limits.rest)
        settings.tls = NextHopTLS(
            configuration,
            default: route.allSatisfy(\.isUnix) ? .none : .may
        )
        self.hops = NextHops(configuration, dialect, settings)
    }

    func stop() async { await self.hops.stopped() }

    func finding(
        _ recipient: AskedRecipient,
        until deadline: ContinuousClock.Instant
    ) async -> RecipientFinding {
        let latest = NIODeadline.now() + TimeAmount(max(deadline - .now, .milliseconds(1)))
        let envelope = SMTPEnvelope(
            sender: self.sender,
            recipients: [],
            size: nil,
            is8BitMIME: false,
            isSMTPUTF8: (self.sender + recipient.address).contains { $0 > 0x7F }
        )
        do {
            var passedOver: [NextHops.PassedOver] = []
            let opened = try await self.hops.begin(
                self.route,
                envelope,
                until: latest,
                &passedOver
            )
            switch opened {
            case .failed(let address, let reason): return Self.unknown(address, reason)
            case .ready(var dialogue):
                return await self.finding(recipient, &dialogue, until: latest)
            }
        } catch {
            return .unknown("\(error)", isOut: true)
        }
    }

    private func finding(
        _ recipient: AskedRecipient,
        _ dialogue: inout NextHopDialogue,
        until latest: NIODeadline
    ) async -> RecipientFinding {
        do {
            let reply = try await dialogue.ask(recipient.address, notification: [], until: latest)
            // After 421 the connection closes by itself.
            if reply.code != 421 { dialogue.release() }
            return RecipientFinding(reply)
        } catch {
            if let error = error as? SMTPForwardError { self.hops.failed(dialogue.address, error) }
            return .unknown("\(error)", isOut: true)
        }
    }

    private static func unknown(
        _ address: ServerAddress,
        _ reason: NextHopReport.Failure.Reason
    ) -> RecipientFinding {
        switch reason {
        case .error(let error): .unknown("\(error)", isOut: error.code != .busy)
        case .refusal(.attempted(.refused(let reply))):
            .unknown("\(reply.code) to MAIL", isOut: true)

        case .refusal: .unknown("\(address) lacks what the question needs", isOut: false)
        }
    }
}

extension ArgumentType<[ServerAddress]> {
    /// Servers, with commas between them.
    static func servers(_ dialect: SMTPClientMachine.Dialect) -> Self {
        let form = dialect == .lmtp ? "HOST:PORT or /SOCKET" : "HOST or HOST:PORT"
        return Self("\(form), several with commas between them") { word in
            let words = word.split(separator: ",", omittingEmptySubsequences: false)
            let known = words.compactMap { ServerAddress(String($0), speaking: dialect) }
            return known.count == words.count ? known : nil
        }
    }
}

extension ArgumentType<[UInt8]> {
    /// A sender's address without brackets, or `<>`.
    fileprivate static var reversePath: Self {
        Self("an address, or <> for the null sender") { word in
            if word == "<>" { return [] }
            let octets = Array(word.utf8)
            let isAddress =
                octets.count <= 254 && octets.allSatisfy { $0 > 0x20 && $0 != 0x7F }
                && !word.contains { "<>".contains($0) } && word.dropFirst().dropLast().contains("@")
            return isAddress ? octets : nil
        }
    }
}
