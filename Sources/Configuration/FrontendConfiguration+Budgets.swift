extension FrontendConfiguration {
    /// `[limits]`: how long a session may wait for its client, and how fast the client has to be.
    ///
    /// 0 is no limit.
    package struct Budgets: Sendable, Equatable {
        /// `command_budget_ms`: outside transactions, until a message begins.
        package var commandMS: Int64 = 600_000
        /// `envelope_budget_ms`: in transactions, until a message begins.
        package var envelopeMS: Int64 = 1_200_000
        /// `data_budget_ms`: for the content of a message.
        package var dataMS: Int64 = 3_600_000
        /// `data_minimum_rate` of a message's content, in octets a second.
        package var minimumRate = 500
        /// How much time the content may lose against ``minimumRate``; `data_timeout_ms`.
        package var slackMS: Int64 = 180_000
        /// `max_commands_per_second`, RCPTs aside that were granted.
        package var commandsPerSecond = 0

        package init() {}

        init(reading reader: TOMLReader) {
            self.commandMS = reader.milliseconds("command_budget_ms", default: self.commandMS)
            self.envelopeMS = reader.milliseconds("envelope_budget_ms", default: self.envelopeMS)
            self.dataMS = reader.milliseconds("data_budget_ms", default: self.dataMS)
            self.minimumRate = reader.integer(
                "data_minimum_rate",
                default: self.minimumRate,
                in: 0...1_000_000,
                unit: "octets a second"
            )
            self.commandsPerSecond = reader.count(
                "max_commands_per_second",
                default: self.commandsPerSecond
            )
        }

        /// The budgets of a session with these timeouts: no budget cuts a timeout short.
        package func within(commandTimeoutMS: Int64, dataTimeoutMS: Int64) -> Self {
            func atLeast(_ timeout: Int64, _ budget: Int64) -> Int64 {
                budget == 0 ? 0 : max(timeout, budget)
            }
            var budgets = self
            budgets.commandMS = atLeast(commandTimeoutMS, self.commandMS)
            budgets.envelopeMS = atLeast(commandTimeoutMS, self.envelopeMS)
            budgets.dataMS = atLeast(dataTimeoutMS, self.dataMS)
            budgets.slackMS = dataTimeoutMS
            return budgets
        }
    }
}
