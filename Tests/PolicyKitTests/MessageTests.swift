import Foundation
import Logging
import Synchronization
import Testing

@testable import PolicyKit
@testable import PolicyKitTesting

/// Stores what it is given, and says so.
private struct Keeper: QueueHook {
    static let name = "keeper"
    static let stored = Mutex<[String]>([])

    init(configuration: PluginConfiguration) {}

    func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients])
    }

    func queue(_ event: QueueEvent) async throws -> Answer {
        Self.stored.withLock { $0.append(event.key) }
        let message = try event.message
        return .ok(String(decoding: message.header, as: UTF8.self).replacing("\r\n", with: "|"))
    }
}

/// Changes the header before a message is replaced.
private struct Early: DataPostHook {
    static let name = "early"

    init(configuration: PluginConfiguration) {}

    func subscription(at hook: Hook) -> Subscription? { Subscription(.headers) }

    func dataPost(_ event: DataPostEvent) async throws -> Answer {
        event.addHeader("X-Early", "1")
        if let field = event.headers.first(where: { $0.name == "X-Old" }) {
            event.deleteHeader(field)
        }
        event.addRecipient("carol@example.org")
        return .declined
    }
}

/// Replaces the message by itself, with another body.
private struct Replacer: DataPostHook {
    static let name = "replacer"

    init(configuration: PluginConfiguration) {}

    func subscription(at hook: Hook) -> Subscription? { Subscription(.wholeMessage) }

    func dataPost(_ event: DataPostEvent) async throws -> Answer {
        let file = Data(try event.message.header + Array("\r\nnew body\r\n".utf8))
        let name = event.newMessageName
        #expect(name != event.newMessageName)
        try file.write(to: URL(fileURLWithPath: "\(event.outFolder)/\(name)"))
        event.replaceMessage(withFileNamed: name)
        return .declined
    }
}

/// Changes the header after a message was replaced.
private struct Late: DataPostHook {
    static let name = "late"

    init(configuration: PluginConfiguration) {}

    func subscription(at hook: Hook) -> Subscription? { Subscription(.headers) }

    func dataPost(_ event: DataPostEvent) async throws -> Answer {
        for field in event.headers {
            switch field.name {
            case "Subject": event.setHeader(field, to: " [late] s")
            case "X-Early", "X-Spam": event.deleteHeader(field)
            default: break
            }
        }
        event.addHeader("X-Late", "1", at: .bottom)
        return .declined
    }
}

@Suite(.serialized) struct MessageTests {
    private static let text = "X-Old: 1\r\nSubject : s\r\nX-Spam: 1\r\nFrom: f\r\n\r\nbody\r\n"

    /// The event of `queue` as it comes on a line, with its header, or with this part left out.
    private func ask(_ elided: [String]) async throws -> ChainOutcome {
        let session = try await TestSession([Keeper.self], plugins: "keeper")
        var transaction = FakeFrontend.transaction
        transaction["message"] = ["path": "/nowhere", "size": 10, "body_offset": 10]
        if !elided.contains("headers") {
            transaction["headers"] = [
                ["id": 1, "name": "From", "space": " ", "value": " a@b"],
                ["id": 2, "name": "To", "value": ""],
            ]
        }
        if !elided.contains("recipients") { transaction["recipients"] = [Any]() }
        var event = FakeFrontend.event(1, "queue", ["queue_id": "Q"], transaction: transaction)
        if !elided.isEmpty { event["elided"] = elided }
        var line = try FakeFrontend.line(event)
        if line.last == 0x0A { line.removeLast() }
        guard case .event(let event) = try FrontendMessage.decode(line),
            let chain = session.chains[.queue]
        else { throw PluginError("no event") }
        let environment = EventEnvironment(
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
            nowMilliseconds: 0,
            deadline: .now + .seconds(10),
            outFolder: ""
        )
        return await chain.ask(HookContext(picture: event, environment: environment))
    }

    @Test func `what is queued is all of the message, as it came`() async throws {
        guard case .answered(let answer, _) = try await self.ask([]) else {
            Issue.record("no answer")
            return
        }
        #expect(answer.reply?.text == ["From : a@b|To:|"])
    }

    @Test(arguments: [["headers"], ["headers", "recipients"]])
    func `a message that did not come whole is not begun`(elided: [String]) async throws {
        let before = Keeper.stored.withLock(\.count)
        guard case .failed(nil, .incompleteEvent, _) = try await self.ask(elided) else {
            Issue.record("it was asked")
            return
        }
        #expect(Keeper.stored.withLock(\.count) == before)
    }

    @Test func `a replaced message comes first, with the changes before it in the file`()
        async throws
    {
        let session = try await TestSession(
            [Early.self, Replacer.self],
            plugins: "early\nreplacer"
        )
        try await session.mail(from: "a@example.net")
        try await session.message(Self.text)
        #expect(session.headers.map(\.name) == ["X-Early", "Subject", "X-Spam", "From"])
        #expect(session.headers.map(\.id) == [5, 6, 7, 8])
        #expect(session.recipients.map(\.address) == ["carol@example.org"])
        let name = try #require(session.replacementPath)
        #expect(name.utf8.count > 10 && !name.contains("/"))
    }

    @Test func `changes after a replaced message are made to the new header`() async throws {
        let session = try await TestSession(
            [Early.self, Replacer.self, Late.self],
            plugins: "early\nreplacer\nlate"
        )
        try await session.mail(from: "a@example.net")
        try await session.message(Self.text)
        #expect(session.headers.map(\.name) == ["Subject", "From", "X-Late"])
        #expect(session.headers.first?.value == " [late] s")
    }
}
