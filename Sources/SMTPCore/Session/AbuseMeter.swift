/// What a session has done so far: the counters of its snapshots, and which of them went too far.
///
/// Only the client's own mistakes count as errors. A refusal by policy does not, so that a list with
/// many dead addresses is not cut off. Commands that bring no message have limits too: their counts
/// start again with each message, or with each recipient granted.
package struct AbuseMeter: Equatable, Sendable {
    /// Command lines read, whatever came of them.
    private(set) package var commands: UInt64 = 0
    /// Replies 5yz of our own: syntax, order, limits.
    private(set) package var errors: UInt64 = 0
    /// Unrecognised commands, empty lines included; STARTTLS and AUTH do not count.
    private(set) package var unrecognized: UInt64 = 0
    /// Transactions begun: each MAIL that was granted.
    private(set) package var transactions: UInt64 = 0
    /// Recipients granted, of all transactions.
    private(set) package var recipientsGranted: UInt64 = 0
    /// Recipients refused by policy, of all transactions.
    private(set) package var recipientsRefused: UInt64 = 0
    /// NOOPs since the last other command.
    private(set) package var noopsInARow: UInt64 = 0
    /// Transactions that became a message: each DATA that was granted.
    private(set) package var messages: UInt64 = 0
    /// Commands since the last DATA that was granted, RCPT aside.
    private(set) package var commandsWithoutMessage: UInt64 = 0
    /// RCPTs since the last one that was granted, refused by policy or by us.
    private(set) package var recipientsRefusedInARow: UInt64 = 0

    /// AUTHs that policy refused for good.
    private(set) package var failedLogins: UInt64 = 0

    package init() {}

    /// `verb` is `nil` for a line that is no command we know.
    mutating func commandReceived(_ verb: SMTPVerb?) {
        self.commands += 1
        self.noopsInARow = verb == .noop ? self.noopsInARow + 1 : 0
        // A long list is one message with many RCPTs: these have a limit of their own.
        if verb == .rcpt {
            self.recipientsRefusedInARow += 1
        } else {
            self.commandsWithoutMessage += 1
        }
    }

    mutating func errorMade() { self.errors += 1 }

    mutating func loginFailed() { self.failedLogins += 1 }

    mutating func unrecognizedReceived() { self.unrecognized += 1 }

    mutating func transactionBegun() { self.transactions += 1 }

    mutating func messageBegun() {
        self.messages += 1
        self.commandsWithoutMessage = 0
    }

    /// A chunk of a message was taken: the message's own limit bounds those that are not empty.
    mutating func chunkTaken(isEmpty: Bool) {
        if !isEmpty { self.commandsWithoutMessage = 0 }
    }

    mutating func recipientGranted() {
        self.recipientsGranted += 1
        self.recipientsRefusedInARow = 0
    }

    mutating func recipientRefused() { self.recipientsRefused += 1 }

    func hasTooManyErrors(_ limits: SMTPLimits, beforeHello: Bool) -> Bool {
        if beforeHello, Self.isOver(self.errors, limits.maximumErrorsBeforeHello) { return true }
        return Self.isOver(self.errors, limits.maximumErrors)
    }

    func hasTooManyUnrecognized(_ limits: SMTPLimits) -> Bool {
        Self.isOver(self.unrecognized, limits.maximumUnrecognized)
    }

    func hasTooManyNoops(_ limits: SMTPLimits) -> Bool {
        Self.isOver(self.noopsInARow, limits.maximumNoops)
    }

    func hasTooManyWithoutMessage(_ limits: SMTPLimits) -> Bool {
        Self.isOver(self.commandsWithoutMessage, limits.maximumCommandsWithoutMessage)
    }

    func hasTooManyRefusedRecipients(_ limits: SMTPLimits) -> Bool {
        Self.isOver(self.recipientsRefusedInARow, limits.maximumRefusedRecipients)
    }

    func hasTooManyCommands(_ limits: SMTPLimits) -> Bool {
        Self.isOver(self.commands, limits.maximumCommands)
    }

    func mayBeginTransaction(_ limits: SMTPLimits) -> Bool {
        !Self.isOver(self.messages + 1, limits.maximumTransactions)
    }

    func mayLogIn(_ limits: SMTPLimits) -> Bool {
        !Self.isOver(self.failedLogins + 1, limits.maximumFailedLogins)
    }

    private static func isOver(_ count: UInt64, _ limit: Int) -> Bool {
        limit > 0 && count > UInt64(limit)
    }
}
