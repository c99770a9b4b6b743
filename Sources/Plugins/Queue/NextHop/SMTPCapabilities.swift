/// What the next hop can do, as it said after EHLO: nothing, after HELO.
struct SMTPCapabilities: Sendable, Equatable {
    var hasPipelining = false
    var has8BitMIME = false
    var hasSMTPUTF8 = false
    var hasSTARTTLS = false
    var hasREQUIRETLS = false
    /// The mechanisms of AUTH, in upper case.
    var mechanisms: Set<String> = []
    /// The hop knows `RET=`, `ENVID=`, `NOTIFY=` and `ORCPT=` (RFC 3461).
    var hasDSN = false
    /// The hop knows `MT-PRIORITY=` (RFC 6710).
    var hasPriority = false
    /// The hop knows `HOLDFOR=` and `HOLDUNTIL=` (RFC 4865).
    var hasFutureRelease = false
    /// The hop takes `BDAT` (RFC 3030 §2).
    var hasChunking = false
    /// The hop takes a body without lines, by `BDAT` (RFC 3030 §3).
    var hasBinaryMIME = false
    /// The hop knows `SIZE=`.
    var hasSize = false
    /// The largest message it takes, `nil` if it did not say (RFC 1870 §4).
    var maximumSize: Int64?

    init() {}

    /// Reads the lines after the first (RFC 5321 §4.1.1.1); what is not known is ignored.
    init(_ reply: SMTPServerReply) {
        for line in reply.lines.dropFirst() {
            let words = line.split(separator: 0x20).map { String(decoding: $0, as: UTF8.self) }
            switch words.first?.uppercased() {
            case "PIPELINING": self.hasPipelining = true
            case "8BITMIME": self.has8BitMIME = true
            case "SMTPUTF8": self.hasSMTPUTF8 = true
            case "AUTH": self.mechanisms.formUnion(words.dropFirst().map { $0.uppercased() })
            case "REQUIRETLS": self.hasREQUIRETLS = true
            case "STARTTLS": self.hasSTARTTLS = true
            case "DSN": self.hasDSN = true
            case "MT-PRIORITY": self.hasPriority = true
            case "FUTURERELEASE": self.hasFutureRelease = true
            case "CHUNKING": self.hasChunking = true
            case "BINARYMIME": self.hasBinaryMIME = true
            case "SIZE":
                self.hasSize = true
                if words.count > 1, let size = Int64(words[1]), size > 0 { self.maximumSize = size }
            default: break
            }
        }
    }
}

/// The sender and the recipients of a message, and the SMTP extensions that it needs.
struct SMTPEnvelope: Sendable, Equatable {
    /// Without angle brackets; empty for the null reverse-path.
    var sender: [UInt8]
    var recipients: [[UInt8]]
    /// Octets of header and body; `nil` if it is not known yet.
    var size: Int64?
    /// The client said `BODY=8BITMIME`.
    var is8BitMIME: Bool
    /// The client said `SMTPUTF8`.
    var isSMTPUTF8: Bool
    /// The client said `BODY=BINARYMIME`.
    var isBinaryMIME = false
    /// The client said `REQUIRETLS`.
    var requiresTLS = false
    /// Our client hears what became of the message for each recipient, so that some may be refused.
    var hearsEach = false
    /// DSN's parameters of `MAIL`, each with a space before it.
    var notification: [UInt8] = []
    /// `MT-PRIORITY` of the client, with a space before it.
    var priority: [UInt8] = []
    /// `HOLDFOR` or `HOLDUNTIL`, with a space before it: the message must not be released before.
    var futureRelease: [UInt8] = []
    /// DSN's parameters of `RCPT`, by recipient.
    var recipientNotifications: [[UInt8]: [UInt8]] = [:]

    /// The content has to go by `BDAT`: it may have no lines.
    var needsChunk: Bool { self.isBinaryMIME }

    /// `MAIL` and each `RCPT`, with the parameters that the hop knows.
    ///
    /// The login at the hop is ours, and the hop does not know the user of our client: `AUTH=<>`
    /// (RFC 4954 §5).
    func commands(_ capabilities: SMTPCapabilities, isLoggedIn: Bool = false) -> [[UInt8]] {
        [self.mail(capabilities, isLoggedIn: isLoggedIn)]
            + self.recipients.map { self.rcpt($0, capabilities) }
    }

    func mail(_ capabilities: SMTPCapabilities, isLoggedIn: Bool) -> [UInt8] {
        var mail = Array("MAIL FROM:<".utf8) + self.sender + Array(">".utf8)
        if let size, capabilities.hasSize { mail += " SIZE=\(size)".utf8 }
        if self.is8BitMIME, capabilities.has8BitMIME { mail += " BODY=8BITMIME".utf8 }
        if self.isBinaryMIME { mail += " BODY=BINARYMIME".utf8 }
        if self.isSMTPUTF8, capabilities.hasSMTPUTF8 { mail += " SMTPUTF8".utf8 }
        if self.requiresTLS, capabilities.hasREQUIRETLS { mail += " REQUIRETLS".utf8 }
        if capabilities.hasDSN { mail += self.notification }
        if capabilities.hasPriority { mail += self.priority }
        mail += self.futureRelease
        if isLoggedIn { mail += " AUTH=<>".utf8 }
        return mail + [0x0D, 0x0A]
    }

    func rcpt(_ recipient: [UInt8], _ capabilities: SMTPCapabilities) -> [UInt8] {
        let notification = capabilities.hasDSN ? self.recipientNotifications[recipient] ?? [] : []
        return Array("RCPT TO:<".utf8) + recipient + [0x3E] + notification + [0x0D, 0x0A]
    }
}
