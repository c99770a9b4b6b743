// The replies of PRDR, draft-hall-prdr-00.

extension StandardReplies {
    /// Replies to a message in PRDR's frame: 353, those for each recipient, and one for all, which is
    /// positive if one of them is.
    static func individually(_ replies: [SMTPReply]) -> [SMTPReply] {
        guard !replies.isEmpty else { return [] }
        let last: SMTPReply
        if replies.contains(where: { $0.code.isPositive }) {
            last = self.acceptedIndividually
        } else {
            let areFinal = replies.allSatisfy { $0.code.isPermanent }
            last = areFinal ? self.deniedIndividually : self.deferredIndividually
        }
        return [self.individualReplies] + replies + [last]
    }

    private static let individualReplies = reply(
        353,
        nil,
        .none,
        "Replies for each recipient follow"
    )
    private static let acceptedIndividually = reply(
        250,
        (2, 0, 0),
        .none,
        "Message accepted for some recipients"
    )
    private static let deniedIndividually = reply(
        550,
        (5, 7, 1),
        .policyDefault,
        "Message refused for all recipients"
    )
    private static let deferredIndividually = reply(
        450,
        (4, 7, 1),
        .policyDefault,
        "Message refused for all recipients, some may be tried again"
    )
}
