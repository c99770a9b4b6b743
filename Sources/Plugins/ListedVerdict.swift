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
