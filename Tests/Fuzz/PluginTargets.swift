import PolicyKit

@testable import StandardPlugins

/// What plugins read: messages, and the answers of servers.
enum PluginTargets {
    /// A message is taken apart within its limits.
    static func mime(_ input: [UInt8]) {
        var limits = MIMEMessage.Limits()
        limits.depth = 4
        limits.parts = 20
        limits.fields = 20
        let message = MIMEMessage(input, limits: limits)
        let parts = message.parts
        promise(parts.count <= limits.parts + 1, "more parts than the limit: \(parts.count)")
        for part in parts {
            promise(part.fields.count <= limits.fields, "more fields than the limit")
            _ = part.filename
            _ = part.parameters
        }
    }

    /// A reply of spamd is read or refused; what is taken of it fits into a verdict.
    static func spamd(_ input: [UInt8]) {
        guard let reply = try? SpamdReply(input) else { return }
        promise(reply.fields.count <= SpamdReply.maximumFields, "more fields than the limit")
        let octets = reply.fields.reduce(0) { $0 + $1.value.count }
        promise(octets <= SpamdReply.maximumOctets, "more octets than the limit")
        promise(reply.score.isFinite && reply.required.isFinite, "a score is no number")
        for field in reply.fields { _ = SpamStatus(field.value) }
    }

    /// The replies of a next hop are the same however they are cut.
    static func nextHop(_ input: [UInt8]) {
        guard let cut = input.last else { return }
        let whole = Self.replies([input.dropLast()])
        let cutUp = Self.replies(pieces(input.dropLast(), cut: cut))
        promise(whole == cutUp, "replies depend on the cut")
    }

    private static func replies(_ pieces: [ArraySlice<UInt8>]) -> [SMTPServerReply] {
        var parser = SMTPServerReplyParser()
        var replies: [SMTPServerReply] = []
        for piece in pieces {
            do {
                try parser.received(piece, into: &replies)
            } catch {
                return replies
            }
        }
        for reply in replies {
            promise((200...599).contains(reply.code), "a reply has the code \(reply.code)")
            promise(
                reply.lines.count <= SMTPServerReplyParser.maximumLines,
                "a reply has \(reply.lines.count) lines"
            )
            _ = (reply.status, reply.isTooManyRecipients)
        }
        return replies
    }
}
