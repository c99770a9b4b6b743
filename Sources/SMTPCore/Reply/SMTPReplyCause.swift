/// Why a reply was given, in a closed set: a key for logs and a label for metrics, never sent.
package enum SMTPReplyCause: String, CaseIterable, Sendable {
    /// Nothing is wrong.
    case none
    /// A worker or a control file worded the reply.
    case policy
    /// The default text of a policy's refusal.
    case policyDefault = "policy_default"
    /// No plugin decided.
    case undecided
    /// Policy could not be asked, or did not answer.
    case policyFailure = "policy_failure"
    case unrecognizedCommand = "unrecognized_command"
    case notImplemented = "not_implemented"
    case notOffered = "not_offered"
    case encryptionRequired = "encryption_required"
    case authenticationRequired = "authentication_required"
    case badSequence = "bad_sequence"
    case badSyntax = "bad_syntax"
    case badAddress = "bad_address"
    case badParameter = "bad_parameter"
    case bareNewline = "bare_newline"
    case nulInCommand = "nul_in_command"
    case nulInMessage = "nul_in_message"
    case lineTooLong = "line_too_long"
    case messageTooBig = "message_too_big"
    case headerTooBig = "header_too_big"
    case tooManyHops = "too_many_hops"
    case tooManyRecipients = "too_many_recipients"
    case tooManyErrors = "too_many_errors"
    case tooManyTransactions = "too_many_transactions"
    case tooManySessions = "too_many_sessions"
    /// Our disk failed, or our memory is used up.
    case systemFailure = "system_failure"
    case timeout
    case shuttingDown = "shutting_down"
    case internalError = "internal_error"
}
