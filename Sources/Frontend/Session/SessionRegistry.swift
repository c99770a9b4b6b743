/// Every session that is open now; drives their timeouts and their end.
///
/// One tick for all sessions instead of a timer each: an idle session then costs no timer, and a
/// timeout is late by at most the tick.
struct SessionRegistry {
    private var sessions: [ObjectIdentifier: SMTPSessionHandler] = [:]

    var count: Int { self.sessions.count }

    mutating func opened(_ session: SMTPSessionHandler) {
        self.sessions[ObjectIdentifier(session)] = session
    }

    mutating func closed(_ session: SMTPSessionHandler) {
        self.sessions[ObjectIdentifier(session)] = nil
    }

    /// The sessions of this moment, to be told something that may end them.
    var all: [SMTPSessionHandler] { Array(self.sessions.values) }
}
