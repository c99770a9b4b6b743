/// Where a note lives.
public enum NoteScope: Sendable, Hashable {
    /// As long as the session.
    case session
    /// Until the transaction ends: MAIL, RSET, EHLO, the end of DATA.
    case transaction
}
