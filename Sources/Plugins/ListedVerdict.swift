import PolicyKit

/// What a line of a control file says to do, by qpsmtpd's constants.
enum ListedVerdict: Sendable, Equatable {
    case declined
    case ok
    /// `nil`: plain `DENY`, so as the plugin's `reject_type` says.
    case refuse(RefusalType?)

    private static let words: [String: ListedVerdict] = [
        "OK": .ok, "DECLINED": .declined, "DENY": .refuse(nil), "DENYSOFT": .refuse(.temp),
        "DENY_DISCONNECT": .refuse(.disconnect), "DENYSOFT_DISCONNECT": .refuse(.tempDisconnect),
    ]

    /// The verdict of a word in any case; `nil` if there is none of that name.
    init?(word: some StringProtocol) {
        guard let verdict = Self.words[word.uppercased()] else { return nil }
        self = verdict
    }

    /// The verdict that `word` of a line names.
    ///
    /// - Throws: The problem of the line if there is none of that name.
    init(_ word: some StringProtocol, in line: ControlLine) throws {
        guard let verdict = Self(word: word) else {
            throw line.problem(
                "code \(word) is none of OK, DECLINED, DENY, DENYSOFT, DENY_DISCONNECT, "
                    + "DENYSOFT_DISCONNECT"
            )
        }
        self = verdict
    }
}

extension HookEvent {
    /// Does what a line says.
    ///
    /// - Parameters:
    ///   - verdict: What it says.
    ///   - found: How it was found, for the log.
    ///   - refusal: The arguments `reject` and `reject_type` of the plugin's line.
    ///   - text: The reply's text, if it refuses.
    ///   - detail: The enhanced status code without its class, if it refuses.
    /// - Returns: The answer to return.
    func answer(
        _ verdict: ListedVerdict,
        _ found: @autoclosure () -> String,
        _ refusal: Refusal,
        _ text: String,
        detail: String
    ) -> Answer {
        switch verdict {
        case .declined: return self.pass(found())
        case .ok:
            self.pass(found())
            return .ok

        case .refuse(let type):
            return self.refuse(
                Refusal(refusal.mode, type ?? refusal.type),
                text,
                detail: detail
            )
        }
    }
}
