import Configuration
import SMTPCore

/// How long a client may keep a session waiting, how slowly it may send a message, and how fast commands.
///
/// Told after some time whose turn it is, it charges that time to the client if it is the client's. So
/// only the client's time counts: not that of workers, of a reply that is held back, of our disk, of the
/// session's wait for its turn. A session that alternates within a tick is charged for the state that
/// the tick finds, which is right on the average. A pure state machine: no clock, no I/O.
struct ClientBudgets {
    /// What the client has to do next.
    enum Turn: Equatable {
        /// To send a command, outside a transaction; or its part of a TLS handshake.
        case command
        /// To send a command of a transaction.
        case envelope
        /// To send the content of a message.
        case content
    }

    /// What the session has done so far.
    struct Progress: Equatable {
        /// Messages begun.
        var messages: UInt64 = 0
        /// Octets of content that arrived.
        var octets = 0
        /// Commands, without those RCPTs that were granted: a long list of recipients is one message.
        var commands: UInt64 = 0
    }

    /// Which key of `[limits]` the client went past.
    enum Excess: String {
        case command = "command_budget_ms"
        case envelope = "envelope_budget_ms"
        case data = "data_budget_ms"
        case dataRate = "data_minimum_rate"
        case commandRate = "max_commands_per_second"

        /// What the client gets.
        var reply: SMTPReply {
            switch self {
            case .command, .envelope, .data: StandardReplies.timeout
            case .dataRate: StandardReplies.tooSlow
            case .commandRate: StandardReplies.tooFast
            }
        }
    }

    /// Commands of so many seconds may come at once.
    static let burstSeconds = 10

    private var progress = Progress()
    /// What was charged for each turn since a message began, in milliseconds.
    private var commandMS: Int64 = 0
    private var envelopeMS: Int64 = 0
    private var contentMS: Int64 = 0
    /// How much longer the message may come slower than the least rate, in milliseconds.
    ///
    /// Time takes from it, octets give back what they may take; `nil` before the first message.
    private var slackMS: Int64?
    /// A thousandth of a command each; `nil` before any time passed.
    private var commandsLeft: Int64?

    /// `elapsed` passed since it was told last.
    ///
    /// `turn` is `nil` if the session waits for something else than its client.
    ///
    /// - Returns: What the client went past, if it is its turn; the session ends then.
    mutating func timePassed(
        _ elapsed: TickTime.Interval,
        turn: Turn?,
        _ progress: Progress,
        _ limits: FrontendConfiguration.Budgets
    ) -> Excess? {
        self.take(progress, elapsedMS: elapsed.milliseconds, limits)
        guard let turn else { return nil }
        let charge = elapsed.chargeableMS
        switch turn {
        case .command: self.commandMS += charge
        case .envelope: self.envelopeMS += charge
        case .content:
            self.contentMS += charge
            self.slackMS? -= charge
        }
        if limits.commandsPerSecond > 0, let left = self.commandsLeft, left < 0 {
            return .commandRate
        }
        switch turn {
        case .command: return Self.isOver(self.commandMS, limits.commandMS) ? .command : nil
        case .envelope: return Self.isOver(self.envelopeMS, limits.envelopeMS) ? .envelope : nil
        case .content:
            if limits.minimumRate > 0, let slack = self.slackMS, slack < 0 { return .dataRate }
            return Self.isOver(self.contentMS, limits.dataMS) ? .data : nil
        }
    }

    /// How much longer the client may take over a turn of commands, in milliseconds; `nil`: there is no
    /// such limit.
    func leftMS(
        inTransaction: Bool,
        _ limits: FrontendConfiguration.Budgets
    ) -> Int64? {
        let budget = inTransaction ? limits.envelopeMS : limits.commandMS
        return budget > 0 ? budget - (inTransaction ? self.envelopeMS : self.commandMS) : nil
    }

    private mutating func take(
        _ new: Progress,
        elapsedMS: Int64,
        _ limits: FrontendConfiguration.Budgets
    ) {
        let old = self.progress
        self.progress = new
        if limits.commandsPerSecond > 0 {
            // A RCPT counts until it is granted: then there are fewer than before.
            self.progress.commands = max(old.commands, new.commands)
            let perSecond = Int64(limits.commandsPerSecond)
            let most = perSecond * Int64(Self.burstSeconds) * 1_000
            let commands = Int64(clamping: self.progress.commands - old.commands)
            let refill = min(elapsedMS, Int64(Self.burstSeconds) * 1_000) * perSecond
            let left = (self.commandsLeft ?? most) + refill
            self.commandsLeft = min(left, most) - commands * 1_000
        }
        let isNewMessage = new.messages != old.messages
        if isNewMessage {
            (self.commandMS, self.envelopeMS, self.contentMS) = (0, 0, 0)
            self.slackMS = limits.slackMS
        }
        guard limits.minimumRate > 0, let slack = self.slackMS else { return }
        let octets = isNewMessage || new.octets < old.octets ? new.octets : new.octets - old.octets
        let earned = Int64(min(octets, 1 << 40)) * 1_000 / Int64(limits.minimumRate)
        self.slackMS = min(slack + earned, limits.slackMS)
    }

    private static func isOver(_ time: Int64, _ budget: Int64) -> Bool {
        budget > 0 && time > budget
    }
}

extension AbuseMeter {
    /// What ``ClientBudgets`` is told, with the octets of content that arrived.
    func progress(octets: Int) -> ClientBudgets.Progress {
        ClientBudgets.Progress(
            messages: self.messages,
            octets: octets,
            commands: self.commands - min(self.recipientsGranted, self.commands)
        )
    }
}
