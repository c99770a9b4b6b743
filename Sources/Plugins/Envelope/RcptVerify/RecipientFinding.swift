import PolicyKit

/// What is known of a recipient.
enum RecipientFinding: Sendable, Equatable {
    case exists
    /// There is no such recipient.
    ///
    /// `code` is the reply's: 550 to 554, or 556; `detail` the enhanced status code without its class, as in `1.1`.
    case missing(code: Int, detail: String)
    /// There is no answer, or none that tells; the text says why. `isOut`: the server itself failed, and the next
    /// question would fail as well.
    case unknown(String, isOut: Bool)

    /// RFC 5321 §4.2.3, RFC 3463 §3.2.
    static let noMailbox = Self.missing(code: 550, detail: "1.1")

    /// The reply codes that are about the recipient; the others are about the command, or about us.
    private static let codes: Set<Int> = [550, 551, 552, 553, 554, 556]

    /// What a server's reply to `RCPT` tells.
    init(_ reply: SMTPServerReply) {
        if reply.isPositive {
            self = .exists
        } else if Self.codes.contains(reply.code) {
            self = .missing(code: reply.code, detail: Self.detail(reply.status) ?? "1.1")
        } else {
            self = .unknown("\(reply.code) to RCPT", isOut: reply.code == 421)
        }
    }

    /// The reply's text for the client; empty where there is nothing to refuse.
    var text: String {
        guard case .missing(_, let detail) = self else { return "" }
        return switch detail {
        case "2.1": "The mailbox is disabled"
        case "2.2": "The mailbox is full"
        case _ where detail.hasPrefix("1."): "No mailbox by that name"
        default: "The mail server of this recipient refuses it"
        }
    }

    /// `1.1` of `5.1.1`; `nil` if that is no status of a refusal for good.
    private static func detail(_ status: String?) -> String? {
        let numbers = status?.split(separator: ".").compactMap { Int($0) } ?? []
        guard numbers.count == 3, numbers[0] == 5 else { return nil }
        return "\(numbers[1]).\(numbers[2])"
    }
}

// What is kept in the store: `exists`, or `missing 550 5.1.1`.

extension RecipientFinding {
    /// Reads what ``record`` wrote; `nil` if it is something else.
    init?(record: Bytes) {
        let words = (record.string ?? "").split(separator: " ", omittingEmptySubsequences: false)
        if words == ["exists"] {
            self = .exists
        } else if words.count == 3, words[0] == "missing", let code = Int(words[1]),
            Self.codes.contains(code), let detail = Self.detail(String(words[2]))
        {
            self = .missing(code: code, detail: detail)
        } else {
            return nil
        }
    }

    /// `nil` if there is nothing to keep.
    var record: Bytes? {
        switch self {
        case .exists: "exists"
        case .missing(let code, let detail): Bytes("missing \(code) 5.\(detail)")
        case .unknown: nil
        }
    }
}
