import SMTPCore

/// Commands and messages in any order, beside a model of RFC 5321 and RFC 3030 that knows no octets.
///
/// Each octet of the input is a command: what it is, and whether policy grants it.
enum DialogueTarget {
    static func play(_ input: [UInt8]) {
        guard let cut = input.last else { return }
        var model = DialogueModel()
        var isGranted = true
        let policy = Policy()
        let client = PlayedClient(Self.configuration) { policy.outcome($0) }
        for octet in input.dropLast() {
            isGranted = octet & 0x30 != 0x30
            policy.isGranted = isGranted
            let command = DialogueModel.Command(octet & 0x0F, octet >> 6)
            let (sent, codes) = model.step(command, isGranted: isGranted)
            let before = client.codes.count
            for part in sent {
                for piece in pieces(part[...], cut: cut) { client.send(piece) }
            }
            let said = Array(client.codes.dropFirst(before))
            promise(said == codes, "\(command) was answered \(said), not \(codes)")
            promise(client.isClosed == model.isClosed, "\(command) closed the session, or did not")
            if model.isClosed { break }
        }
        promise(client.messages == model.messages, "the messages are not what was sent")
    }

    private final class Policy {
        var isGranted = true

        func outcome(_ question: SMTPQuestion) -> SMTPOutcome {
            switch question {
            case .mail, .rcpt, .data, .message:
                self.isGranted ? .granted(nil) : .refused(StandardReplies.recipientDenied)
            case .connect, .helo, .ehlo, .auth, .headersEnd, .vrfy, .help, .noop, .quit,
                .unrecognized:
                .granted(nil)
            }
        }
    }

    private static let configuration: SMTPConfiguration = {
        var limits = SMTPLimits()
        limits.maximumErrors = 0
        limits.maximumErrorsBeforeHello = 0
        limits.maximumUnrecognized = 0
        limits.maximumTransactions = 0
        limits.maximumNoops = 0
        limits.maximumCommandsWithoutMessage = 0
        limits.maximumRefusedRecipients = 0
        return SMTPConfiguration(hostname: Array("mx.example.org".utf8), limits: limits)
    }()
}

/// The states and answers of an SMTP server, as RFC 5321 §3.3, §4.1.1, §4.1.4, §4.3.2 and RFC 3030 §2
/// have them.
struct DialogueModel {
    enum Command {
        case helo, ehlo, mail, mailEmpty, rcpt, data, rset, noop, vrfy, help, quit, unknown
        case badMail, badRcpt
        case bdat(octets: Int, isLast: Bool)

        init(_ kind: UInt8, _ size: UInt8) {
            self =
                switch kind {
                case 0: .helo
                case 1: .ehlo
                case 2: .mail
                case 3: .rcpt
                case 4: .data
                case 5: .rset
                case 6: .noop
                case 7: .vrfy
                case 8: .help
                case 9: .unknown
                case 10: .bdat(octets: Int(size), isLast: false)
                case 11: .bdat(octets: Int(size), isLast: true)
                case 12: .badMail
                case 13: .badRcpt
                case 14: .mailEmpty
                default: .quit
                }
        }
    }

    private struct Transaction {
        var recipients = 0
        var refused = 0
        /// The message so far, if it comes by BDAT.
        var chunks: [UInt8]?
    }

    private var isGreeted = false
    private var transaction: Transaction?
    private(set) var isClosed = false
    private(set) var messages: [[UInt8]] = []

    private static let message = Array("Subject: x\r\n\r\n.\r\n..a\r\n".utf8)
    private static let chunk = Array("abc".utf8)

    /// What the client sends, waiting for the answer between two parts, and the codes of the replies.
    mutating func step(_ command: Command, isGranted: Bool) -> (sent: [[UInt8]], codes: [UInt16]) {
        switch command {
        case .helo: return ([Self.line("HELO a.example")], self.hello())
        case .ehlo: return ([Self.line("EHLO a.example")], self.hello())
        case .mail: return ([Self.line("MAIL FROM:<a@b>")], self.mail(isGranted))
        case .mailEmpty: return ([Self.line("MAIL FROM:<>")], self.mail(isGranted))
        case .badMail: return ([Self.line("MAIL FROM:<a@>")], [self.mailRefusal ?? 501])
        case .rcpt: return ([Self.line("RCPT TO:<c@d>")], self.recipient(isGranted))
        case .badRcpt: return ([Self.line("RCPT TO:<@>")], [self.recipientRefusal ?? 501])
        case .data: return self.data(isGranted)
        case .bdat(let octets, let isLast): return self.chunk(octets, isLast, isGranted)
        case .rset:
            self.transaction = nil
            return ([Self.line("RSET")], [250])
        case .noop: return ([Self.line("NOOP")], [250])
        case .vrfy: return ([Self.line("VRFY a")], [252])
        case .help: return ([Self.line("HELP")], [214])
        case .unknown: return ([Self.line("XYZZY")], [500])
        case .quit:
            self.isClosed = true
            return ([Self.line("QUIT")], [221])
        }
    }

    private static func line(_ text: String) -> [UInt8] { Array(text.utf8) + [0x0D, 0x0A] }

    private mutating func hello() -> [UInt16] {
        self.isGreeted = true
        self.transaction = nil
        return [250]
    }

    private var mailRefusal: UInt16? {
        self.isGreeted && self.transaction == nil ? nil : 503
    }

    private mutating func mail(_ isGranted: Bool) -> [UInt16] {
        if let refusal = self.mailRefusal { return [refusal] }
        guard isGranted else { return [550] }
        self.transaction = Transaction()
        return [250]
    }

    private var recipientRefusal: UInt16? {
        guard let transaction, transaction.chunks == nil else { return 503 }
        return nil
    }

    private mutating func recipient(_ isGranted: Bool) -> [UInt16] {
        if let refusal = self.recipientRefusal { return [refusal] }
        guard isGranted else {
            self.transaction?.refused += 1
            return [550]
        }
        self.transaction?.recipients += 1
        return [250]
    }

    private mutating func data(_ isGranted: Bool) -> ([[UInt8]], [UInt16]) {
        let command = Self.line("DATA")
        guard let transaction, transaction.chunks == nil else { return ([command], [503]) }
        guard transaction.recipients > 0 else {
            return ([command], [transaction.refused > 0 ? 554 : 503])
        }
        self.transaction = nil
        guard isGranted else { return ([command], [550]) }
        self.messages.append(Self.message)
        return ([command, SMTPTargets.stuffed(Self.message)], [354, 250])
    }

    private mutating func chunk(
        _ octets: Int,
        _ isLast: Bool,
        _ isGranted: Bool
    ) -> ([[UInt8]], [UInt16]) {
        let chunk = Array(Self.chunk.prefix(octets))
        let sent = [Self.line("BDAT \(octets)\(isLast ? " LAST" : "")") + chunk]
        guard var transaction else { return (sent, [503]) }
        guard transaction.recipients > 0 else {
            guard transaction.refused > 0 else {
                self.transaction = nil
                return (sent, [503])
            }
            self.transaction = nil
            return (sent, [554])
        }
        // The hook `data` is asked before the first chunk, the others after the last one.
        if transaction.chunks == nil, !isGranted {
            self.transaction = nil
            return (sent, [550])
        }
        transaction.chunks = (transaction.chunks ?? []) + chunk
        guard isLast else {
            self.transaction = transaction
            return (sent, [250])
        }
        self.transaction = nil
        var message = transaction.chunks ?? []
        if !message.isEmpty { message += [0x0D, 0x0A] }
        self.messages.append(message)
        return (sent, [isGranted ? 250 : 550])
    }
}
