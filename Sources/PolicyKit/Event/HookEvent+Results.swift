// The words that begin a plugin's line in the log, and qpsmtpd's way to refuse: what the arguments
// `reject` and `reject_type` make of it.

extension HookEvent {
    /// Logs that a check was passed.
    ///
    /// Answers `declined`, so that `return event.pass(…)` reads well; the methods below do the same.
    @discardableResult
    public func pass(_ text: @autoclosure () -> String = "") -> Answer {
        self.context.log(.pass, text)
        return .declined
    }

    /// Logs that a check was not made.
    @discardableResult
    public func skip(_ text: @autoclosure () -> String) -> Answer {
        self.context.log(.skip, text)
        return .declined
    }

    /// Logs that a check could not be made.
    @discardableResult
    public func error(_ text: @autoclosure () -> String) -> Answer {
        self.context.log(.error, text)
        return .declined
    }

    /// Logs something worth knowing.
    @discardableResult
    public func info(_ text: @autoclosure () -> String) -> Answer {
        self.context.log(.info, text)
        return .declined
    }

    /// Refuses, or does what the operator wrote instead: `reject 0` only logs, `reject naughty`
    /// flags the session for a plugin that decides about it later.
    ///
    /// - Parameters:
    ///   - refusal: The arguments `reject` and `reject_type` of the plugin's line.
    ///   - text: The reply's lines, separated by LF.
    ///   - detail: The enhanced status code without its class, as in `"1.8"`: the class follows
    ///     from `reject_type`. `nil` for the hook's own.
    ///   - code: The reply code, where it is not the hook's own. Used only if its class fits.
    /// - Returns: The answer to return.
    public func refuse(
        _ refusal: Refusal,
        _ text: String,
        detail: String? = nil,
        code: Int? = nil
    ) -> Answer {
        switch refusal.mode {
        case .tolerate:
            self.context.log(.failTolerated) { text }
            return .declined

        case .naughty:
            self.context.log(.failNaughty) { text }
            self.context.flagNaughty(text, refusal.type, detail: detail)
            return .declined

        case .reject:
            self.context.log(.fail) { text }
            return refusal.type.answer(text, detail: detail, code: code)
        }
    }

    /// Refuses for what other plugins found.
    ///
    /// - Parameters:
    ///   - type: How.
    ///   - flags: What they found, a line of the reply each; not empty.
    ///   - detail: The enhanced status code without its class.
    /// - Returns: The answer to return.
    package func refuse(
        _ type: RefusalType,
        for flags: [NaughtyFlag],
        detail: String
    ) -> Answer {
        self.context.log(.fail) { flags.map { "\($0.plugin): \($0.text)" }.joined(separator: "; ") }
        let text = flags.map(\.text).joined(separator: "\n")
        return type.answer(text, detail: detail, code: nil)
    }
}

/// The first word of a plugin's line in the log, and the field `result` of the structured log.
package enum ResultWord: String, Sendable {
    case pass
    case fail
    case failTolerated = "fail, tolerated"
    case failNaughty = "fail, NAUGHTY"
    case skip
    case error
    case info
}
