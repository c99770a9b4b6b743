import PolicyKit

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
        SessionSnapshot(
            id: "TEST",
            startedMilliseconds: .max,
            client: .init(ip: self.clientIP, port: 51_512, name: self.clientName.map { Bytes($0) }),
            hello: self.hello.map { .init(verb: $0.verb, name: Bytes($0.name)) },
            relay: self.relay,
            earlyTalker: self.isEarlyTalker
        )
    }

    private func transactionSnapshot(_ needs: Needs) -> TransactionSnapshot? {
        guard let sender = self.sender else { return nil }
        return TransactionSnapshot(
            id: "TEST.1",
            sender: sender,
            recipientCount: self.recipients.count,
            message: needs.contains(.message) ? self.message : nil
        )
    }
}

/// The header of a message, cut into fields as the frontend cuts it.
struct TestHeader {
    private(set) var fields: [HeaderField] = []
    /// How many octets of the message they take; the empty line is not among them.
    private(set) var octets = 0

    init(_ message: [UInt8]) {
        var start = 0
        while let end = Self.endOfField(in: message, from: start) {
            let line = message[start..<end]
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > start,
                line[..<colon].allSatisfy({ 33...126 ~= $0 })
            else { break }
            self.fields.append(
                HeaderField(
                    id: Int64(self.fields.count) + 1,
                    name: Bytes(octets: Array(line[..<colon])),
                    value: Bytes(octets: Array(line[(colon + 1)...]))
                )
            )
            start = end + 2
            self.octets = start
        }
    }

    /// Where the field that begins at `start` ends: before a CRLF that no white space follows.
    private static func endOfField(in message: [UInt8], from start: Int) -> Int? {
        var index = start
        while index + 1 < message.count {
            if message[index] == 0x0D, message[index + 1] == 0x0A {
                let next = index + 2 < message.count ? message[index + 2] : 0
                guard next == 0x20 || next == 0x09 else { return index }
            }
            index += 1
        }
        return nil
    }
}
