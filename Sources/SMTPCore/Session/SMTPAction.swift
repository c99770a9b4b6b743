/// What the frontend does next.
package enum SMTPAction: Equatable, Sendable {
    /// Keep what is unconsumed and come back with more.
    case needOctets
    /// Message content was appended; call `next` again.
    case contentAppended
    /// Nothing to do for this; call `next` again.
    case proceed
    /// Ask policy, then tell the session by `answered`; parse nothing until then.
    case ask(SMTPQuestion)
    /// A question is open: `next` has nothing to say before `answered`.
    case awaitAnswer
    /// Send the reply, call `next` again.
    case reply(SMTPReply)
    /// The transaction is over: drop it, send the reply, call `next` again.
    case resetThenReply(SMTPReply)
    /// Send the reply and flush; what follows is a TLS handshake: tell `encrypted` when it is done,
    /// or close if it fails.
    case startTLS(SMTPReply)
    /// XCLIENT: tell policy and the limits who the client is, then tell `clientReplaced`, or close.
    case clientNamed(ClientAttributes)
    /// XFORWARD: tell policy where the next message came from, send the reply, call `next` again.
    case forwarded(ClientAttributes, SMTPReply)
    /// Send the reply, flush, close. Session and transaction are over.
    case replyThenClose(SMTPReply)
    /// Too late: the question was answered or the session is over. Count it, do nothing.
    case dropStale
    /// The session is over: drop what arrives.
    case closed
}

/// A question to policy, with all that is new in it.
package enum SMTPQuestion: Equatable, Sendable {
    /// A client connected.
    case connect
    case helo(name: [UInt8])
    case ehlo(name: [UInt8])
    /// The client said who it is, in all that its mechanism wants.
    case auth(SMTPCredentials)
    case mail(ReversePath, MailParameters)
    case rcpt(ForwardPath, SMTPParameters)
    case data
    /// The header block is complete in what was appended so far; content stops until the answer.
    case headersEnd(bodyOffset: Int)
    /// The message is complete.
    case message(SMTPMessageFacts)
    /// The whole argument; `isSMTPUTF8`: it ends in the parameter SMTPUTF8, so the reply may have UTF-8.
    case vrfy([UInt8], isSMTPUTF8: Bool)
    /// The argument may be empty.
    case help([UInt8])
    /// The argument may be empty.
    case noop([UInt8])
    case quit
    /// `command` is the first word of `line`; both are empty for an empty line.
    case unrecognized(command: [UInt8], line: [UInt8])
}

/// What the scanner learnt about a complete message.
package struct SMTPMessageFacts: Equatable, Sendable {
    /// Octets, CRLFs counted, transparency and final dot not.
    package let octets: Int
    /// Where the body begins; the empty line between header and body belongs to the body.
    package let bodyOffset: Int
    /// Received and Delivered-To fields in the header.
    package let hops: Int
}

/// What policy decided, in SMTP's terms.
package enum SMTPOutcome: Equatable, Sendable {
    /// Go on; `nil` sends the standard reply.
    ///
    /// A negative reply turns the grant into a refusal.
    case granted(SMTPReply?)
    /// Refuse with this reply; a 421 or 521 closes as well.
    case refused(SMTPReply)
    case refusedThenClose(SMTPReply)
    /// The answer to a message where each recipient has its own: a reply for each, in the order of RCPT.
    ///
    /// Answers `message` alone, and has one reply at least; anything else closes the session. RFC 2033
    /// §4.2 (LMTP).
    case answeredEach([SMTPReply])
    /// Go on with the mechanism: send this 334, and ask about the line that answers it.
    ///
    /// Answers `auth` with a message of a mechanism of several steps alone; anything else closes the
    /// session. RFC 4954 §4.
    case challenged(SMTPReply)
}

/// Whose turn it is, and so which timer runs.
package enum SMTPWait: Equatable, Sendable {
    /// The client's next command, or its response to a challenge. RFC 5321 §4.5.3.2.7: five minutes.
    case command
    /// The next block of message content. RFC 5321 §4.5.3.2.5: three minutes.
    case content
    /// The client's part of a TLS handshake.
    case handshake
    /// Policy's answer; the client is not to blame, and no timer of the session runs.
    case answer
    /// Nothing: the session is over, or has not begun.
    case nothing
}
