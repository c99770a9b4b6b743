import JSON
package import SMTPCore

/// The login that policy accepted.
package struct LoginFacts: Equatable, Sendable {
    package let mechanism: SMTPMechanism
    package let user: [UInt8]
    /// Whether the client could relay before it said so.
    let wasRelay: Bool

    /// Writes the `auth` object of an event.
    func encode(into writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("mechanism")
        writer.string(self.mechanism.rawValue)
        writer.key("user")
        writer.bytes(self.user)
        writer.endObject()
    }
}
