// swift-format-ignore: AlwaysUseLowerCamelCase
/// Why octets are not the JSON that the protocol speaks; equal by code.
package struct JSONError: Error, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable, CaseIterable {
        case frame_not_utf8
        case frame_not_json
        case frame_not_object
        case frame_duplicate_key
        case frame_nul_key
        case frame_too_deep
        case frame_number
        case frame_surrogate
        case frame_control
        /// A member has another type than was asked for.
        case wrong_type
    }

    package let code: Code
    /// Where in the text, in octets.
    package let offset: Int

    package init(_ code: Code, at offset: Int = 0) {
        self.code = code
        self.offset = offset
    }

    package var description: String { "\(self.code.rawValue) at octet \(self.offset)" }

    package static func == (lhs: Self, rhs: Self) -> Bool { lhs.code == rhs.code }
}
