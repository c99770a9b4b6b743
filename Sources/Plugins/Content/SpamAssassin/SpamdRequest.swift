import PolicyKit

/// A message as spamd wants to see it.
///
/// - Note: `HEADERS` answers with the header as SpamAssassin would rewrite it, and without the
///   body, so that the body is never another program's.
struct SpamdRequest: Sendable {
    let user: String
    let sender: [UInt8]
    let message: Message
    /// The most octets of the message.
    let limit: Int

    /// Reads the message and puts the request together.
    func encoded() async throws -> [UInt8] {
        let message = try await self.message.bytes(limit: self.limit)
        let envelope = Array("X-Envelope-From: <".utf8) + self.sender + Array(">\r\n".utf8)
        let length = envelope.count + message.count
        let head = """
            HEADERS SPAMC/1.4\r
            Content-length: \(length)\r
            User: \(self.user)\r
            \r

            """
        return Array(head.utf8) + envelope + message
    }
}
