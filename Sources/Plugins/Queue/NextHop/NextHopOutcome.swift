/// A recipient that the next hop does not take.
struct NextHopRefusal: Sendable, Equatable {
    let recipient: [UInt8]
    let reply: SMTPServerReply
}

/// What became of a transaction.
enum NextHopOutcome: Sendable, Equatable {
    /// The hop has the message, but not for the recipients that it `refused`, and not for the
    /// recipients `left` for another transaction, because they were too many for this one.
    case accepted(SMTPServerReply, refused: [NextHopRefusal], left: [[UInt8]] = [])
    /// The hop refused the message, for all recipients.
    case refused(SMTPServerReply)
    /// The hop refused these recipients, and so it has no message for any recipient.
    case recipientsRefused([NextHopRefusal])
    /// The hop refused the copies of these recipients, and has `taken` other copies.
    case copiesRefused([NextHopRefusal], taken: Int)
}
