import HTTPClient
import PolicyKit

/// Asks a server of HTTP: the status of its answer tells.
struct HTTPSource: RecipientSource {
    /// The most octets of an answer, of which nothing is read.
    private static let maximumAnswer = 65_536

    let name: String
    private let client: HTTPServerClient
    private let path: RecipientTemplate
    private let fields: [HTTPField]

    /// - Throws: That the line names no URL, or one without a place for the recipient.
    init(_ configuration: PluginConfiguration) throws {
        let url = try configuration.requiredPositional("url", as: .httpServer(defaultPort: 80))
        guard let path = RecipientTemplate(url.path), path.hasRecipient else {
            throw PluginError(
                "<url> is \(url); its path must have {address} or {local}, and no braces but these and {domain}"
            )
        }
        let token = configuration.argument("token_file", as: .text).flatMap {
            PasswordFile.password(configuration, argument: "token_file", $0)
        }
        if token != nil, !url.isEncrypted, case .tcp = url.address {
            configuration.warn("the token of token_file goes in clear text; use https")
        }
        self.fields =
            token.map {
                [HTTPField("Authorization", "Bearer \(String(decoding: $0, as: UTF8.self))")]
            }
            ?? []
        self.path = path
        self.name = url.description
        self.client = configuration.httpClient(to: url)
    }

    func finding(
        _ recipient: AskedRecipient,
        until deadline: ContinuousClock.Instant
    ) async -> RecipientFinding {
        // A segment of a path that is dots alone means another folder, also when it is encoded.
        guard !recipient.local.allSatisfy({ $0 == 0x2E }) else { return .noMailbox }
        let path = self.path.filled(recipient, Self.encoded)
        do {
            let answer = try await self.client.ask(
                HTTPRequest("GET", path, fields: self.fields),
                limit: Self.maximumAnswer,
                within: max(.milliseconds(1), deadline - .now)
            )
            return Self.finding(status: answer.status)
        } catch {
            let isOut = (error as? HTTPFailure)?.code != .badRequest
            return .unknown("\(error)", isOut: isOut)
        }
    }

    static func finding(status: Int) -> RecipientFinding {
        switch status {
        case 200, 204: .exists
        case 404, 410: .noMailbox
        default: .unknown("status \(status)", isOut: status == 429 || status >= 500)
        }
    }

    /// Percent-encoded but for the unreserved characters (RFC 3986 §2.1, §2.3).
    static func encoded(_ value: [UInt8]) -> String {
        var text = ""
        for octet in value {
            switch octet {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E:
                text.unicodeScalars.append(Unicode.Scalar(octet))
            default:
                text += octet < 0x10 ? "%0" : "%"
                text += String(octet, radix: 16, uppercase: true)
            }
        }
        return text
    }
}
