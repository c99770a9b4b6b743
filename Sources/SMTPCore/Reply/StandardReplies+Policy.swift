// What policy's answers say when no worker gave a text: a row for each hook and verdict.
extension StandardReplies {
    package static let connectDenied = reply(554, (5, 7, 1), .policyDefault, "Connection refused")
    package static let connectDeferred = reply(
        421,
        (4, 7, 0),
        .policyDefault,
        "Connection refused, try again later"
    )
    package static let helloDenied = reply(550, (5, 7, 1), .policyDefault, "Host name refused")
    package static let helloDeferred = reply(
        450,
        (4, 7, 1),
        .policyDefault,
        "Host name refused, try again later"
    )
    /// RFC 4954 §6; also when every plugin declined.
    package static let loginDenied = reply(
        535,
        (5, 7, 8),
        .policyDefault,
        "Authentication failed"
    )
    /// RFC 4954 §6.
    package static let loginDeferred = reply(
        454,
        (4, 7, 0),
        .policyDefault,
        "Temporary authentication failure"
    )
    package static let loginDeniedClosing = reply(
        535,
        (5, 7, 8),
        .policyDefault,
        "Authentication failed, closing connection"
    )
    package static let mailDenied = reply(550, (5, 7, 1), .policyDefault, "Sender refused")
    package static let mailDeferred = reply(
        450,
        (4, 7, 1),
        .policyDefault,
        "Sender refused, try again later"
    )
    package static let recipientDenied = reply(550, (5, 7, 1), .policyDefault, "Recipient refused")
    package static let recipientDeferred = reply(
        450,
        (4, 7, 1),
        .policyDefault,
        "Recipient refused, try again later"
    )
    package static let recipientUndecided = reply(
        450,
        (4, 7, 1),
        .undecided,
        "No plugin decided if relaying is allowed"
    )
    /// Hooks data and data_post.
    package static let dataDenied = reply(554, (5, 7, 1), .policyDefault, "Message refused")
    package static let dataDeferred = reply(
        451,
        (4, 7, 1),
        .policyDefault,
        "Message refused, try again later"
    )
    package static let queueDenied = reply(554, (5, 7, 1), .policyDefault, "Message refused")
    package static let queueDeferred = reply(
        451,
        (4, 3, 0),
        .policyDefault,
        "Message not queued, try again later"
    )
    package static let queueUndecided = reply(
        451,
        (4, 3, 0),
        .undecided,
        "No plugin took the message, try again later"
    )
    package static let verifyDenied = reply(550, (5, 7, 1), .policyDefault, "VRFY refused")
    package static let verifyDeferred = reply(
        450,
        (4, 7, 1),
        .policyDefault,
        "VRFY refused, try again later"
    )
    package static let helpDenied = reply(502, (5, 5, 1), .policyDefault, "HELP is not available")
    package static let noopDenied = reply(500, (5, 5, 1), .policyDefault, "NOOP refused")
    package static let unrecognizedDeferred = reply(
        450,
        (4, 7, 1),
        .policyDefault,
        "Unrecognized command, try again later"
    )
    /// RFC 7504 §3.
    package static let unrecognizedClosing = reply(
        521,
        (5, 5, 1),
        .policyDefault,
        "Unrecognized command, closing connection"
    )
    /// deny_disconnect and denysoft_disconnect at helo, ehlo, mail, rcpt, vrfy.
    package static let deniedClosing = reply(
        550,
        (5, 7, 1),
        .policyDefault,
        "Refused, closing connection"
    )
    /// deny_disconnect at data, data_headers_end, data_post, queue.
    package static let dataDeniedClosing = reply(
        554,
        (5, 7, 1),
        .policyDefault,
        "Message refused, closing connection"
    )
    package static let noopDeniedClosing = reply(
        500,
        (5, 5, 1),
        .policyDefault,
        "NOOP refused, closing connection"
    )
    /// denysoft_disconnect anywhere.
    package static let deferredClosing = reply(
        421,
        (4, 7, 0),
        .policyDefault,
        "Refused, try again later, closing connection"
    )

    // MARK: Policy could not be asked

    /// on_failure = "tempfail".
    package static let policyFailed = reply(
        451,
        (4, 3, 0),
        .policyFailure,
        "Temporary failure, try again later"
    )
    /// The same at auth.
    package static let policyFailedLogin = reply(
        454,
        (4, 3, 0),
        .policyFailure,
        "Temporary authentication failure"
    )
    /// The same at connect, where only closing is left.
    package static let policyFailedClosing = reply(
        421,
        (4, 3, 0),
        .policyFailure,
        "Temporary failure, try again later"
    )
    /// on_failure = "reject".
    package static let policyFailedDenied = reply(
        554,
        (5, 3, 0),
        .policyFailure,
        "Service not available"
    )
}
