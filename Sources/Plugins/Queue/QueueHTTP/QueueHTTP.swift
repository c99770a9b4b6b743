import HTTPClient
import Octets
package import PolicyKit

/// Posts messages to a server of HTTP.
///
/// See README.md.
package struct QueueHTTP: QueueHook {
    package static let name = "queue/http"

    private enum Form: String, CaseIterable, Sendable {
        case raw, json
    }

    /// The most octets of an answer.
    private static let maximumAnswer = 65_536
    private static let firstPause = Duration.milliseconds(200)

    private let client: HTTPServerClient
    private let form: Form
    private let time: Duration
    private let maximumOctets: Int64
    private let secret: [UInt8]?
    private let signatureField: String
    private let token: String?

    package init(configuration: PluginConfiguration) throws {
        let url = try configuration.requiredPositional("url", as: .httpServer(defaultPort: 80))
        self.form = configuration.argument("form", as: .choice, default: .raw)
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100)...(.seconds(600))),
            default: .seconds(30)
        )
        self.maximumOctets =
            Int64(
                configuration.argument(
                    "max_megabytes",
                    as: .integer(in: 1...1_024),
                    default: 32
                )
            ) * 1_048_576
        self.secret = configuration.argument("secret_file", as: .text).flatMap {
            PasswordFile.password(configuration, argument: "secret_file", $0)
        }
        let field = configuration.argument(
            "signature_field",
            as: .text,
            default: "X-Signature-256"
        )
        if !HTTPField.isName(field) {
            configuration.record("signature_field is \(field); it must be a name of a field")
        }
        self.signatureField = field
        let token = configuration.argument("token_file", as: .text).flatMap {
            PasswordFile.password(configuration, argument: "token_file", $0)
        }
        self.token = token.map { String(decoding: $0, as: UTF8.self) }
        if token != nil, !url.isEncrypted, case .tcp = url.address {
            configuration.warn("the token of token_file goes in clear text; use https")
        }
        self.client = configuration.httpClient(to: url)
    }

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients])
    }

    package func queue(_ event: QueueEvent) async throws -> Answer {
        let message = try event.message
        guard !event.recipients.isEmpty else {
            return .deny("No recipients to deliver to", code: 554, status: "5.5.1")
        }
        let parameters = event.transaction.sender.params
        // RFC 8689 §4.2.1: HTTP has no way to pass the wish on.
        guard !parameters.contains(where: { $0.keyword == "REQUIRETLS" }) else {
            return .deny("REQUIRETLS cannot be kept here", code: 550, status: "5.7.30")
        }
        guard message.size <= self.maximumOctets else {
            event.info("fail, larger than max_megabytes")
            return .deny("Message too big to hand on", code: 552, status: "5.3.4")
        }
        let request = self.request(event, try await message.bytes(limit: Int(self.maximumOctets)))
        let deadline = ContinuousClock.now + min(self.time, event.workingTime)
        var pause = Self.firstPause
        while true {
            let outcome = try await self.ask(request, event, before: deadline)
            guard outcome.mayTryAgain, ContinuousClock.now + pause * 2 < deadline else {
                return outcome.answer
            }
            try await Task.sleep(for: pause)
            pause = min(pause * 2, .seconds(5))
        }
    }

    /// Asks once.
    private func ask(
        _ request: HTTPRequest,
        _ event: QueueEvent,
        before deadline: ContinuousClock.Instant
    ) async throws -> (answer: Answer, mayTryAgain: Bool) {
        do {
            let answer = try await self.client.ask(
                request,
                limit: Self.maximumAnswer,
                within: ContinuousClock.now.duration(to: deadline)
            )
            guard answer.isSuccess else {
                event.info("fail, \(self.client.url): \(answer.status)")
                return Self.refusal(answer)
            }
            event.info("\(self.client.url): \(answer.status)")
            return (.ok("queued as \(event.queueID)", code: 250, status: "2.0.0"), false)
        } catch let failure as HTTPFailure {
            event.error("\(self.client.url): \(failure)")
            let mayTryAgain = failure.code == .unreachable || failure.code == .closed
            return (QueueProgram.tryAgain, mayTryAgain)
        }
    }

    /// What an answer other than 2xx means: 4xx is about the message, the others are not.
    private static func refusal(_ answer: HTTPAnswer) -> (answer: Answer, mayTryAgain: Bool) {
        switch answer.status {
        case 401, 407: (QueueProgram.tryAgain, false)  // our login is wrong, not the message
        case 408, 425, 429: (QueueProgram.tryAgain, true)
        case 413: (.deny("Message too big", code: 552, status: "5.3.4"), false)
        case 400...499: (self.denial(answer), false)
        case 500...: (QueueProgram.tryAgain, true)
        default: (QueueProgram.tryAgain, false)
        }
    }

    /// A refusal for good, in the server's words if it wrote plain text.
    private static func denial(_ answer: HTTPAnswer) -> Answer {
        let type = answer.value(of: "Content-Type")?.lowercased() ?? ""
        let lines = type.hasPrefix("text/plain") ? ProgramReply.lines(of: answer.body) : []
        return Answer(
            .deny,
            PolicyReply(
                code: 554,
                status: "5.3.0",
                fitting: (lines.isEmpty ? ["The message was refused"] : lines).map(\.utf8)
            )
        )
    }

    // MARK: The request

    private func request(_ event: QueueEvent, _ message: [UInt8]) -> HTTPRequest {
        var fields = [HTTPField("Idempotency-Key", event.key)]
        if let token { fields.append(HTTPField("Authorization", "Bearer \(token)")) }
        let body: [UInt8]
        switch self.form {
        case .raw:
            body = message
            fields.append(HTTPField("Content-Type", "message/rfc822"))
            fields += Self.fields(event)

        case .json:
            body = Self.json(event, message)
            fields.append(HTTPField("Content-Type", "application/json"))
        }
        if let secret {
            let code = MessageCode.sha256(of: body, key: secret)
            fields.append(HTTPField(self.signatureField, "sha256=\(Self.hexadecimal(code))"))
        }
        // The key lets the server know a request that it has seen.
        return HTTPRequest(
            "POST",
            self.client.url.path,
            fields: fields,
            body: body,
            isRepeatable: true
        )
    }

    /// The envelope as fields; an address that is no UTF-8 stands as in the log, `a\xff@example.org`.
    private static func fields(_ event: QueueEvent) -> [HTTPField] {
        func text(_ bytes: Bytes) -> String { bytes.string ?? "\(bytes)" }
        var fields = [HTTPField("Envelope-Sender", "<\(text(event.transaction.sender.address))>")]
        fields += event.recipients.map { HTTPField("Envelope-Recipient", "<\(text($0.address))>") }
        fields += [
            HTTPField("Queue-Id", event.queueID),
            HTTPField("Client-Address", event.session.client.ip),
        ]
        if let hello = event.session.hello {
            fields.append(HTTPField("Client-Helo", text(hello.name)))
        }
        if let user = event.session.authentication?.user {
            fields.append(HTTPField("Client-User", text(user)))
        }
        return fields
    }

    private static func json(_ event: QueueEvent, _ message: [UInt8]) -> [UInt8] {
        func value(_ bytes: Bytes?) -> JSONValue {
            guard let bytes else { return .null }
            return bytes.string.map { .string($0) }
                ?? .object(["b64": .string(Base64.encode(bytes.octets))])
        }
        var writer = JSONWriter()
        JSONValue.object([
            "key": .string(event.key), "queue_id": .string(event.queueID),
            "sender": value(event.transaction.sender.address),
            "recipients": .array(event.recipients.map { value($0.address) }),
            "client": .string(event.session.client.ip),
            "hello": value(event.session.hello?.name),
            "user": value(event.session.authentication?.user),
            "message": .string(Base64.encode(message)),
        ]).encode(into: &writer)
        return writer.octets
    }

    private static func hexadecimal(_ octets: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        let text = octets.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }
}
