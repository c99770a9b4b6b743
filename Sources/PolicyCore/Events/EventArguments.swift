import JSON
import Octets
import PolicyProtocol
import SMTPCore

/// Writes the members of each hook's `args` object (protocol/events.md).
///
/// The caller begins and ends the object itself.
enum EventArguments {
    /// What a hook without arguments has.
    static func none(_ writer: inout JSONWriter) {}

    static func name(_ name: [UInt8], into writer: inout JSONWriter) {
        writer.key("name")
        writer.bytes(name)
    }

    static func argument(_ argument: [UInt8], into writer: inout JSONWriter) {
        writer.key("argument")
        writer.bytes(argument)
    }

    static func unrecognized(command: [UInt8], line: [UInt8], into writer: inout JSONWriter) {
        writer.key("command")
        writer.bytes(command)
        writer.key("line")
        writer.bytes(line)
    }

    /// Without what proves the identity.
    static func credentials(
        _ credentials: SMTPCredentials,
        _ history: LoginHistory,
        into writer: inout JSONWriter
    ) {
        writer.key("mechanism")
        writer.string(credentials.mechanism.rawValue)
        writer.key("user")
        writer.bytes(credentials.user)
        if case .message(_, let step) = credentials.proof {
            writer.key("step")
            writer.int(Int64(step))
        }
        history.encode(into: &writer)
    }

    /// What proves the identity, for the worker that is asked and nothing else.
    ///
    /// `state` is what a worker left with the challenge that the client answers.
    static func proof(
        _ proof: SMTPCredentials.Proof,
        state: [UInt8]?,
        into writer: inout JSONWriter
    ) {
        switch proof {
        case .password(let password):
            writer.key("password")
            writer.bytes(password)
        case .response(let response, let challenge):
            writer.key("challenge")
            writer.bytes(challenge)
            writer.key("response")
            writer.bytes(response)
        case .message(let message, _):
            writer.key("response")
            writer.bytes(message)
            if let state {
                writer.key("state")
                writer.bytes(state)
            }
        }
    }

    static func sender(_ sender: EnvelopeAddress, into writer: inout JSONWriter) {
        writer.key("sender")
        self.encode(sender, id: nil, into: &writer)
    }

    static func recipient(_ recipient: EnvelopeRecipient, into writer: inout JSONWriter) {
        writer.key("recipient")
        self.encode(recipient.address, id: recipient.id, into: &writer)
    }

    static func queueID(_ id: String, into writer: inout JSONWriter) {
        writer.key("queue_id")
        writer.string(id)
    }

    static func value(_ value: [UInt8], into writer: inout JSONWriter) {
        writer.key("value")
        writer.bytes(value)
    }

    static func reason(_ reason: String, into writer: inout JSONWriter) {
        writer.key("reason")
        writer.string(reason)
    }

    static func disconnect(reason: String, durationMS: Int64, into writer: inout JSONWriter) {
        writer.key("reason")
        writer.string(reason)
        writer.key("duration_ms")
        writer.int(durationMS)
    }

    static func queued(id: String, reply: SMTPReply, into writer: inout JSONWriter) {
        writer.key("queue_id")
        writer.string(id)
        writer.key("reply")
        self.encode(reply, into: &writer)
    }

    /// What `deny` and `ok` tell of a hook that is over; `question` is its encoded `args` object, `trace`
    /// the encoded list.
    static func decided(
        _ hook: Hook,
        question: [UInt8],
        verdict: Verdict,
        decision: PolicyDecision,
        reply: SMTPReply?,
        trace: [UInt8],
        into writer: inout JSONWriter
    ) {
        writer.key("hook")
        writer.string(hook.rawValue)
        writer.key("args")
        writer.raw(question)
        writer.key("verdict")
        writer.string(verdict.rawValue)
        self.encode(decision.decider, into: &writer)
        writer.key("failure")
        switch decision.outcome {
        case .failed(_, let reason): writer.string(reason)
        // No failure policy decided about a message that the frontend's own disk lost.
        case .undecided, .verdict, .spoolFailed: writer.null()
        }
        writer.key("reply")
        if let reply { self.encode(reply, into: &writer) } else { writer.null() }
        writer.key("trace")
        writer.raw(trace)
    }

    // MARK: - Parts

    static func encode(_ decider: PolicyDecision.Decider, into writer: inout JSONWriter) {
        let names: [(StaticString, String?)] = [
            ("pool", decider.pool), ("worker", decider.worker?.name), ("plugin", decider.plugin),
        ]
        for (key, value) in names {
            writer.key(key)
            if let value { writer.string(value) } else { writer.null() }
        }
    }

    static func encode(_ reply: SMTPReply, into writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("code")
        writer.int(Int64(reply.code.rawValue))
        writer.key("status")
        if let status = reply.status { writer.string("\(status)") } else { writer.null() }
        writer.key("text")
        writer.beginArray()
        for line in reply.textLines { writer.string(line) }
        writer.endArray()
        writer.endObject()
    }

    static func encode(_ address: EnvelopeAddress, id: Int?, into writer: inout JSONWriter) {
        writer.beginObject()
        if let id {
            writer.key("id")
            writer.int(Int64(id))
        }
        writer.key("address")
        writer.bytes(address.address)
        writer.key("local")
        writer.bytes(address.local)
        writer.key("domain")
        if let domain = address.domain { writer.bytes(domain) } else { writer.null() }
        writer.key("params")
        writer.beginArray()
        if !address.parameters.isEmpty {
            for (keyword, value) in address.parameters.entries {
                writer.beginArray()
                writer.bytes(keyword.map(\.upperCased))
                if let value { writer.bytes(Array(value)) } else { writer.null() }
                writer.endArray()
            }
        }
        writer.endArray()
        writer.endObject()
    }
}

extension SMTPReply {
    /// The text of each line, without code and enhanced status code.
    var textLines: [String] {
        let prefix = self.status.map { "\($0) ".utf8.count } ?? 0
        return String(decoding: self.wire, as: UTF8.self).split(whereSeparator: \.isNewline).map {
            line in
            String(decoding: line.utf8.dropFirst(4 + prefix), as: UTF8.self)
        }
    }
}
