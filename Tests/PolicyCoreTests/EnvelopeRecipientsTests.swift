import PolicyProtocol
import Testing

@testable import PolicyCore
@testable import SMTPCore

struct EnvelopeRecipientsTests {
    /// A transaction whose client named `addresses`, all granted.
    private static func transaction(_ addresses: [String]) throws -> MailTransaction {
        var transaction = MailTransaction(id: "T.1", MailParameters())
        for address in addresses {
            transaction.propose(try Self.address(address))
            transaction.candidateAnswered(isGranted: true)
        }
        return transaction
    }

    private static func address(_ text: String) throws -> EnvelopeAddress {
        EnvelopeAddress(try ForwardPath(address: Array(text.utf8)), .none)
    }

    private static func list(_ transaction: MailTransaction?) -> [String] {
        transaction?.recipients.map {
            "\($0.id) \(String(decoding: $0.address.address, as: UTF8.self))"
        } ?? []
    }

    @Test(arguments: [
        (["me@example.com", "me@example.com"], ["1 me@example.com"]),
        (["me@example.com", "me@EXAMPLE.com"], ["1 me@example.com"]),
        (["\"me\"@example.com", "me@example.com"], ["1 \"me\"@example.com"]),
        (["me@example.com", "ME@example.com"], ["1 me@example.com", "2 ME@example.com"]),
        (["postmaster", "Postmaster"], ["1 postmaster"]),
        (
            ["postmaster", "postmaster@example.com"],
            ["1 postmaster", "2 postmaster@example.com"]
        ),
        (["a@[192.0.2.1]", "a@[192.0.2.1]", "b@x.y"], ["1 a@[192.0.2.1]", "3 b@x.y"]),
    ])
    func `a recipient that is named again is there once`(named: [String], kept: [String]) throws {
        #expect(Self.list(try Self.transaction(named)) == kept)
    }

    @Test(arguments: [1, 31, 32, 33, 500])
    func `many recipients are compared alike`(count: Int) throws {
        let names = (0..<count).map { "r\($0)@example.com" }
        var transaction = try Self.transaction(names + names.map { $0.uppercased() } + names)
        #expect(transaction.recipients.count == 2 * count)
        let isRemoved = transaction.removeRecipient(id: 1)
        #expect(isRemoved)
        transaction.propose(try Self.address(names[0]))
        transaction.candidateAnswered(isGranted: true)
        transaction.propose(try Self.address(names[0]))
        transaction.candidateAnswered(isGranted: true)
        #expect(transaction.recipients.count == 2 * count)
        #expect(transaction.recipients.last?.id == 3 * count + 1)
    }

    /// Each recipient is replaced once it is granted, as a pool of aliases does.
    @Test func `four times the recipients cost about four times as much`() throws {
        let asked = try (0..<2_000).map { try Self.address("r\($0)@example.com") }
        let aliases = try (0..<2_000).map { try Self.address("a\($0)@example.com") }
        let growth = WorkGrowth.ofFourTimes(500) { count in
            var recipients = EnvelopeRecipients()
            return {
                for id in 0..<count {
                    let recipient = EnvelopeRecipient(id: id, address: asked[id])
                    if !recipients.contains(recipient) { recipients.append(recipient) }
                    let isReplaced = recipients.replace(id: id, with: aliases[id])
                    #expect(isReplaced)
                }
            }
        }
        // Less than three times for each doubling.
        #expect(growth < 9)
    }

    /// What was replaced leaves its hash, but not for ever.
    @Test func `a recipient is found after many replacements`() throws {
        let names = try (0..<32).map { try Self.address("r\($0)@example.com") }
        var recipients = EnvelopeRecipients()
        for (id, address) in names.enumerated() {
            recipients.append(EnvelopeRecipient(id: id, address: address))
        }
        for round in 0..<200 {
            let new = EnvelopeRecipient(id: 0, address: try Self.address("n\(round)@example.com"))
            let (before, isReplaced) = (
                recipients.contains(new), recipients.replace(id: 0, with: new.address)
            )
            #expect(!before && isReplaced && recipients.contains(new))
        }
        let gone = EnvelopeRecipient(id: 99, address: names[0])
        let left = EnvelopeRecipient(id: 99, address: names[1])
        #expect(!recipients.contains(gone) && recipients.contains(left))
    }

    private static func add(_ address: String) -> PolicyAction {
        .addRecipient(address: Array(address.utf8))
    }

    private static func replace(_ id: Int, _ address: String) -> PolicyAction {
        .replaceRecipient(id: id, address: Array(address.utf8))
    }

    @Test(arguments: [
        ([add("b@x.y"), add("b@X.Y")], ["1 a@x.y", "2 b@x.y"]),
        ([add("c@x.y"), add("c@x.y")], ["1 a@x.y", "2 b@x.y", "3 c@x.y"]),
        ([add("a@x.y"), .removeRecipient(id: 1)], ["2 b@x.y", "3 a@x.y"]),
        ([replace(1, "b@x.y")], ["1 b@x.y"]),
        ([replace(1, "b@x.y"), replace(2, "a@x.y")], ["1 b@x.y", "2 a@x.y"]),
    ])
    func `a list of actions leaves each recipient once`(
        actions: [PolicyAction],
        left: [String]
    ) throws {
        var edit = PolicyEdit(
            notes: PolicyNotes(),
            transaction: try Self.transaction(["a@x.y", "b@x.y"]),
            hook: .data,
            allowsUTF8: false,
            maximumRecipients: 3,
            maximumDelayMS: 0
        )
        var verdict = PolicyVerdict(id: 1, verdict: .declined)
        verdict.actions = actions
        let violation = edit.apply(verdict)
        #expect(violation == nil)
        #expect(Self.list(edit.transaction) == left)
    }

    @Test func `what RCPT said beside the address stays with a replaced recipient`() throws {
        var transaction = MailTransaction(id: "T.1", MailParameters())
        var asked = try Self.address("a@x.y")
        asked.parameters = SMTPParameters(octets: Array("NOTIFY=NEVER".utf8))
        transaction.propose(asked)
        // While it is asked about, and when it is granted.
        for (isAsked, name) in [(true, "b@x.y"), (false, "c@x.y")] {
            if !isAsked { transaction.candidateAnswered(isGranted: true) }
            let isReplaced = transaction.replaceRecipient(id: 1, with: try Self.address(name))
            #expect(isReplaced)
            let left = isAsked ? transaction.candidate : transaction.recipients.first
            #expect(left?.address.address == Array(name.utf8))
            #expect(left?.address.parameters == asked.parameters)
        }
    }

    @Test(
        arguments: [
            ([], nil), (["a@x.y"], "a@x.y"), (["a@x.y", "a@X.Y"], "a@x.y"),
            (["a@x.y", "b@x.y"], nil),
            (["a@x.y", "b@x.y", "a@x.y"], nil),
        ] as [([String], String?)]
    )
    func `the recipient that the client named is known whatever becomes of it`(
        named: [String],
        only: String?
    ) throws {
        var transaction = MailTransaction(id: "T.1", MailParameters())
        for (index, name) in named.enumerated() {
            transaction.propose(try Self.address(name))
            _ = transaction.replaceRecipient(id: index + 1, with: try Self.address("hidden@x.y"))
            transaction.candidateAnswered(isGranted: true)
        }
        transaction.propose(try Self.address("refused@x.y"))
        transaction.candidateAnswered(isGranted: false)
        transaction.addRecipient(try Self.address("added@x.y"))
        #expect(transaction.onlyNamedRecipient.map { String(decoding: $0, as: UTF8.self) } == only)
    }

    @Test func `the limit counts what is left`() throws {
        for (count, isAllowed) in [(1, true), (2, false)] {
            var edit = PolicyEdit(
                notes: PolicyNotes(),
                transaction: try Self.transaction(["a@x.y", "b@x.y"]),
                hook: .data,
                allowsUTF8: false,
                maximumRecipients: 3,
                maximumDelayMS: 0
            )
            var verdict = PolicyVerdict(id: 1, verdict: .declined)
            verdict.actions =
                [Self.add("a@x.y")] + (0..<count).map { Self.add("n\($0)@x.y") }
            let violation = edit.apply(verdict)
            #expect((violation == nil) == isAllowed)
        }
    }
}
