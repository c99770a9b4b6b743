import JSON

/// How many logins failed lately, before one that is asked about.
package struct LoginHistory: Sendable, Equatable {
    /// Whose failures are more than the operator allows.
    package enum Excess: Sendable {
        case none, address, user
    }

    /// Failures from the client's address; of IPv6 its /64.
    package let ofAddress: Int
    /// Failures of the user, from anywhere.
    package let ofUser: Int
    package let excess: Excess

    package init(ofAddress: Int = 0, ofUser: Int = 0, excess: Excess = .none) {
        self.ofAddress = ofAddress
        self.ofUser = ofUser
        self.excess = excess
    }

    /// Writes the member `failed` of the hook's `args`; nothing if nothing failed.
    func encode(into writer: inout JSONWriter) {
        guard self.ofAddress > 0 || self.ofUser > 0 else { return }
        writer.key("failed")
        writer.beginObject()
        writer.key("address")
        writer.int(Int64(clamping: self.ofAddress))
        writer.key("user")
        writer.int(Int64(clamping: self.ofUser))
        writer.endObject()
    }
}
