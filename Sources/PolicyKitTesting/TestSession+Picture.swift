import PolicyKit
import SMTPCore

extension TestSession {
    func picture(
        _ hook: Hook,
        _ needs: Needs,
        _ sender: Sender?,
        _ recipient: Recipient?,
        _ arguments: [String: Bytes],
        _ facts: [String: JSONValue] = [:]
    ) -> TestPicture {
        TestPicture(
            hook: hook,
            key: "test.\(self.events)",
            needs: needs,
            givenSession: self.sessionSnapshot,
            givenTransaction: self.transactionSnapshot(needs),
            givenRecipients: self.recipients,
            givenHeaders: self.headers,
            givenTrace: self.trace,
            sessionNotes: self.sessionNotes,
            transactionNotes: self.transactionNotes,
            givenSender: sender,
            givenRecipient: recipient,
            arguments: arguments.merging(["queue_id": "test"]) { first, _ in first },
            facts: facts
        )
    }

    private var sessionSnapshot: SessionSnapshot {
        var session = SessionSnapshot(
            id: "TEST",
            startedMilliseconds: .max,
            client: .init(ip: self.clientIP, port: 51_512, name: self.clientName.map { Bytes($0) }),
            hello: self.hello.map { .init(verb: $0.verb, name: Bytes($0.name)) },
            relay: self.relay,
            earlyTalker: self.isEarlyTalker
        )
        session.tls = self.tls
        session.authentication = self.authentication
        session.counters.authFailed = self.failedLogins
        return session
    }

    private func transactionSnapshot(_ needs: Needs) -> TransactionSnapshot? {
        guard let sender = self.sender else { return nil }
        var transaction = TransactionSnapshot(
            id: "TEST.1",
            sender: sender,
            recipientCount: self.recipients.count,
            message: needs.contains(.message) ? self.message : nil
        )
        transaction.repliesEach = self.repliesEach
        transaction.holdUntilMilliseconds = self.holdUntilMilliseconds
        return transaction
    }
}

/// A message with its header cut into fields, as the frontend has it.
struct TestMessage {
    /// What stands in the file: the border between header and body is mended.
    private(set) var octets: [UInt8]
    private(set) var fields: [HeaderField] = []
    /// Where the body begins; the empty line belongs to it.
    let bodyOffset: Int

    /// `firstID` is the id of the first field.
    init(_ message: [UInt8], firstID: Int64 = 1) {
        var section = HeaderSectionReader()
        section.read(message.span)
        self.octets = message
        self.bodyOffset = HeaderBorder.close(&self.octets, bodyOffset: section.finalBodyOffset)
        let header = Array(self.octets.prefix(self.bodyOffset))
        var start = 0
        while let field = HeaderGrammar.field(in: header.span, at: start) {
            self.fields.append(
                HeaderField(
                    id: firstID + Int64(self.fields.count),
                    name: Bytes(octets: Array(header[start..<field.nameEnd])),
                    space: Bytes(octets: Array(header[field.nameEnd..<field.colon])),
                    value: Bytes(octets: Array(header[(field.colon + 1)..<field.end]))
                )
            )
            start = min(field.end + 2, header.count)
        }
    }
}
