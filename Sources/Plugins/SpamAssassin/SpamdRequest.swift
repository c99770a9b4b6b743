import Glibc
import NIOCore
import PolicyKit

/// A message as spamd wants to see it.
///
/// - Note: `HEADERS` answers with the header as SpamAssassin would rewrite it, and without the
///   body, so that the body is never taken from somebody else.
struct SpamdRequest: Sendable {
    let user: String
    let sender: [UInt8]
    let message: Message

    /// Reads the body, on a thread that may wait, and puts the request together.
    func encoded() async throws -> ByteBuffer {
        let message = self.message
        let body = try await withBlockingThread {
            try SpoolFile.read(message.path, from: message.bodyOffset, to: message.fileSize)
        }
        let envelope = Array("X-Envelope-From: <".utf8) + self.sender + Array(">\r\n".utf8)
        let length = envelope.count + message.header.count + body.count
        var request = ByteBuffer()
        request.reserveCapacity(length + 256)
        request.writeString("HEADERS SPAMC/1.4\r\nContent-length: \(length)\r\n")
        request.writeString("User: \(self.user)\r\n\r\n")
        request.writeBytes(envelope)
        request.writeBytes(message.header)
        request.writeBytes(body)
        return request
    }
}
