/// A mail transaction, from the granted MAIL to its end.
///
/// - Note: RFC 5321 §3.3. The frontend keeps the addresses.
package struct SMTPTransaction: Equatable, Sendable {
    /// The recipients that count, as the answer to the last command told.
    package var recipients = 0
    /// RCPTs that were granted, whatever became of their recipients.
    package var grants = 0
    /// MAIL said SMTPUTF8: addresses beyond ASCII may follow.
    package let isSMTPUTF8: Bool
    /// MAIL said BODY=BINARYMIME: the message comes in chunks, and its body has no lines (RFC 3030 §3).
    package var isBinary = false
    /// The client hears a reply for each RCPT that was granted once the message is complete (RFC 2033
    /// §4.2), else one for all.
    package var isAnsweredEach = false
    /// MAIL said PRDR: replies that differ are told one by one, between 353 and a last one for all.
    package var isPRDR = false
    /// A recipient was refused, so that DATA can say why there is none.
    package var hasRefusedRecipients = false

    /// How many replies the end of the message has.
    var replies: Int { self.isAnsweredEach ? max(self.grants, 1) : 1 }
}
