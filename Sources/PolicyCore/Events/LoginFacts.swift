import JSON

/// The login that policy accepted, or that a trusted proxy told of.
package struct LoginFacts: Equatable, Sendable {
    /// As in `PLAIN`; `XCLIENT` if a proxy told of it.
    package let mechanism: String
    package let user: [UInt8]
    /// Whether the client could relay before it said so.
    let wasRelay: Bool

    /// Writes the `auth` object of an event.
    func encode(into writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("mechanism")
        writer.string(self.mechanism)
        writer.key("user")
        writer.bytes(self.user)
        writer.endObject()
    }
}
