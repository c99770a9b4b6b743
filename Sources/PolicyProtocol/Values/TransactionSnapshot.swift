/// A transaction as it is at an event.
public struct TransactionSnapshot: Sendable, Hashable {
    /// The transaction's id: the session's and a number.
    public var id: String
    /// Who the message is from; empty, as the null sender, until MAIL was granted.
    public var sender: Sender
    /// How many recipients were accepted.
    public var recipientCount: Int
    /// The file with the message; `nil` if there is none yet, or it was not asked for.
    public var message: MessageReference?
    /// Whether the client hears a reply for each recipient when the message has come (LMTP, PRDR).
    public var repliesEach = false
    /// When the message may be released, in Unix milliseconds; `nil`: at once (RFC 4865).
    public var holdUntilMilliseconds: Int64?

    package init(id: String, sender: Sender, recipientCount: Int, message: MessageReference?) {
        self.id = id
        self.sender = sender
        self.recipientCount = recipientCount
        self.message = message
    }

    /// What stands for a transaction that cannot be read; the event fails then.
    package static let empty = Self(id: "", sender: .empty, recipientCount: 0, message: nil)
}

/// A parameter of MAIL or RCPT, as in `SIZE=4312`.
public struct ESMTPParameter: Sendable, Hashable {
    /// The keyword, in upper case.
    public var keyword: String
    /// The value; `nil` if there is none.
    public var value: Bytes?

    package init(keyword: String, value: Bytes?) {
        self.keyword = keyword
        self.value = value
    }
}

/// Who a message is from.
public struct Sender: Sendable, Hashable {
    /// The reverse-path without its brackets.
    public var address: Bytes
    /// The local part, without the quotes it may have.
    public var local: Bytes
    /// The domain, or the address literal with its brackets; empty if there is none.
    public var domain: Bytes
    /// The parameters of MAIL.
    public var params: [ESMTPParameter]

    package init(address: Bytes, local: Bytes, domain: Bytes, params: [ESMTPParameter] = []) {
        self.address = address
        self.local = local
        self.domain = domain
        self.params = params
    }

    /// Whether this is `<>`, the sender of notifications, to which no reply may be sent.
    public var isNull: Bool { self.address.octets.isEmpty }

    /// What stands for a sender that cannot be read; the event fails then.
    package static let empty = Self(address: "", local: "", domain: "")
}

/// Who a message is for.
public struct Recipient: Sendable, Hashable {
    /// What it is called in a transaction; never used twice.
    public var id: Int64
    /// The forward-path without its brackets.
    public var address: Bytes
    /// The local part, without the quotes it may have.
    public var local: Bytes
    /// The domain, or the address literal with its brackets; empty at `<postmaster>`.
    public var domain: Bytes
    /// The parameters of RCPT.
    public var params: [ESMTPParameter]

    package init(
        id: Int64,
        address: Bytes,
        local: Bytes,
        domain: Bytes,
        params: [ESMTPParameter] = []
    ) {
        self.id = id
        self.address = address
        self.local = local
        self.domain = domain
        self.params = params
    }

    /// What stands for a recipient that cannot be read; the event fails then.
    package static let empty = Self(id: 0, address: "", local: "", domain: "")
}

/// A field of a message's header.
public struct HeaderField: Sendable, Hashable {
    /// What it is called in a transaction; never used twice.
    public var id: Int64
    /// What stands before the colon, without white space.
    public var name: Bytes
    /// White space between the name and the colon: obsolete (RFC 5322 §4.5), and mostly empty.
    ///
    /// A field that is set loses it.
    public var space: Bytes
    /// What stands after the colon, without the last CRLF; folded lines as they came.
    public var value: Bytes

    package init(id: Int64, name: Bytes, space: Bytes = "", value: Bytes) {
        self.id = id
        self.name = name
        self.space = space
        self.value = value
    }
}

/// The file with a message as it came.
public struct MessageReference: Sendable, Hashable {
    /// The file; there until the plugin has answered.
    public var path: String
    /// Its octets.
    public var size: Int64
    /// Where its header ends.
    public var bodyOffset: Int64

    package init(path: String, size: Int64, bodyOffset: Int64) {
        self.path = path
        self.size = size
        self.bodyOffset = bodyOffset
    }

    /// What stands for a file that was not sent; the event fails then.
    package static let empty = Self(path: "", size: 0, bodyOffset: 0)
}
