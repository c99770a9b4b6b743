// swift-format-ignore: AlwaysUseLowerCamelCase
/// What a worker did that protocol/ does not allow; the names are protocol/failure.md's.
package enum ViolationCode: String, Error, Sendable, CaseIterable {
    // A line that ends the connection.
    case frame_too_long
    case bad_frame
    case unknown_type
    case bad_message
    case unexpected_message
    // A verdict that is invalid as a whole.
    case unknown_verdict
    case hook_not_reached
    case verdict_not_allowed
    case reply_missing
    case reply_not_allowed
    case reply_malformed
    case reply_code
    case reply_status
    case reply_text
    case notes_malformed
    case notes_too_large
    case notes_no_transaction
    case actions_malformed
    case too_many_actions
    case unknown_action
    case action_not_allowed
    case header_name
    case header_value
    case unknown_header
    case address_invalid
    case unknown_recipient
    case too_many_recipients
    case no_recipients
    case path_invalid
    case file_refused
    case challenge_missing
    case challenge_not_allowed
    case challenge_too_large
    case value_invalid
    case plugin_malformed
    case trace_malformed
    case error_malformed
}

/// A violation, where in the message it is, and what was seen: `actions[2].value: a bare CR`.
///
/// For logs and authors; equal by code.
package struct ProtocolViolation: Error, Equatable, CustomStringConvertible {
    package let code: ViolationCode
    package let detail: String
    /// The plugin that the verdict names; `nil` if it names none, or the message is no verdict.
    package var plugin: String?

    package init(_ code: ViolationCode, _ detail: String = "") {
        self.code = code
        self.detail = detail
    }

    /// The same of an action whose fields ``detail`` begins with, seen from the whole verdict.
    package func inAction(_ index: Int) -> Self {
        var violation = Self(self.code, "actions[\(index)].\(self.detail)")
        violation.plugin = self.plugin
        return violation
    }

    package var description: String {
        self.detail.isEmpty ? self.code.rawValue : "\(self.code.rawValue): \(self.detail)"
    }

    package static func == (lhs: Self, rhs: Self) -> Bool { lhs.code == rhs.code }
}
