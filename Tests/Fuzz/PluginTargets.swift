import Addresses
import PolicyKit
import SPF

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

    /// Files in a text and in a TNEF are found within their limits; nothing is in a file that was not in the message.
    static func embedded(_ input: [UInt8]) {
        for found in [UUEncoding.files(in: input), TNEF.files(in: input)] {
            promise(found.files.count <= EmbeddedFiles.maximumFiles, "more files than the limit")
            for file in found.files {
                promise(file.content.count <= input.count, "a file is larger than the message")
                promise(file.names.count <= 8, "more names than the limit")
            }
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

    /// An evaluation ends, whatever record all names have.
    static func spf(_ input: [UInt8]) {
        for client in ["192.0.2.1", "2001:db8::1"] {
            guard let client = IPAddress(parsing: client) else { continue }
            let hello = Array(input.suffix(20))
            var evaluation = SPFEvaluation(
                SPFIdentity(client: client, hello: hello, sender: Array("a.b-c@example.org".utf8))
            )
            var step = evaluation.start()
            var rounds = 0
            while case .ask(let questions) = step {
                rounds += 1
                promise(rounds <= 40, "an evaluation does not end")
                promise(!questions.isEmpty && questions.count <= 10, "\(questions.count) questions")
                step = evaluation.answered(questions.map { Self.answer(to: $0, input, client) })
            }
        }
    }

    private static func answer(
        to question: SPFQuestion,
        _ record: [UInt8],
        _ client: IPAddress
    ) -> SPFAnswer {
        let name = question.name
        let labels = name.split(separator: 0x2E, omittingEmptySubsequences: false)
        promise(
            name.count <= 253 && labels.allSatisfy { (1...63).contains($0.count) },
            "a name that no DNS can hold"
        )
        switch (question.kind, name.count % 4) {
        case (_, 0): return .nothing
        case (.txt, _): return .texts([Array("v=spf1 ".utf8) + record])
        case (.mx, _), (.ptr, _): return .names([name, Array(record.prefix(40)), []])
        case (_, 1): return .addresses([client])
        default: return .addresses([])
        }
    }

    /// A field is of one server, whatever its spelling.
    static func results(_ input: [UInt8]) {
        let own = OwnResults(server: "mx1.example.com")
        let claims = own.claims(input)
        guard let parsed = ParsedResults(input) else { return }
        let again = Array("\(ResultText.quoted(parsed.server, true)); none".utf8)
        // Neither of these is written by us.
        if parsed.server.contains(0x09) || String(validating: parsed.server, as: UTF8.self) == nil {
            return
        }
        promise(ParsedResults(again)?.server == parsed.server, "the server changes when quoted")
        promise(own.claims(again) == claims, "a quoted name is of another server")
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
