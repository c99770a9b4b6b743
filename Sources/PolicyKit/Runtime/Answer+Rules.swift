import PolicyProtocol

extension Answer {
    /// Why this answer is not one for `hook`, as the frontend would find: its tables are asked here,
    /// so that the plugin's author hears of it first, and by the plugin's name.
    ///
    /// - Returns: `nil` if it is one. Whether the client may be told octets beyond ASCII only the
    ///   frontend knows.
    package func violation(at hook: Hook) -> String? {
        switch self.verdict {
        case .declined where self.reply == nil: return nil
        case .ok where self.reply == nil && hook != .received_line: return nil
        // The challenge is among the actions, which the frontend looks at.
        case .done where self.reply == nil && hook == .auth: return nil
        default: break
        }
        var verdict = PolicyVerdict(id: 1, verdict: self.verdict)
        verdict.reply = self.reply
        return verdict.violation(for: hook, hasTransaction: true, allowsUTF8: true)?.description
    }
}
