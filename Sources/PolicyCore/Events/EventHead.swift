package import JSON
package import PolicyProtocol
package import SMTPCore

/// What an event says of one attempt at a question.
package struct EventHead {
    package let id: Int64
    package let attempt: Int
    package let deadlineMS: Int64

    package init(id: Int64, attempt: Int, deadlineMS: Int64) {
        self.id = id
        self.attempt = attempt
        self.deadlineMS = deadlineMS
    }

    /// Octets that it takes in a line, at most: a key has no more than 64.
    package static let mostOctets = 256

    package func encode(key: [UInt8], into writer: inout JSONWriter) {
        writer.fragment(#""type":"event","id":"#)
        writer.int(self.id)
        writer.fragment(#","key":"#)
        writer.bytes(key)
        writer.fragment(#","attempt":"#)
        writer.int(Int64(self.attempt))
        writer.fragment(#","deadline_ms":"#)
        writer.int(self.deadlineMS)
    }
}

/// What a worker is to be sent of an event.
package struct EventAddressee {
    package let needs: Needs
    package let maximumFrameOctets: Int
    /// The line goes to a worker that is asked: at `auth` it has what proves the identity.
    package let isAsked: Bool

    package init(needs: Needs, maximumFrameOctets: Int, isAsked: Bool = false) {
        self.isAsked = isAsked
        self.needs = needs
        self.maximumFrameOctets = maximumFrameOctets
    }
}

/// What the frontend knows beside the policy session when a line is written.
package struct EventSurroundings: ~Copyable {
    package let counters: AbuseMeter
    /// The file that workers of the pool can read, if all of the message is in it.
    package let messagePath: String?

    package init(counters: AbuseMeter, messagePath: String?) {
        self.counters = counters
        self.messagePath = messagePath
    }
}
