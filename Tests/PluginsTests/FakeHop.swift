import PolicyKitTesting
import Synchronization

@testable import PolicyKit
@testable import StandardPlugins

/// A next hop that takes mail, and says what a test wants said.
final class FakeHop: Sendable {
    struct Rules: Sendable {
        var capabilities = ["PIPELINING", "8BITMIME", "SIZE 10000000", "SMTPUTF8"]
        /// The reply to a command that begins so, the first that fits; `close`: none, and the end; empty:
        /// none.
        var replies: [(prefix: String, reply: String)] = []
        var greeting = "220 hop ESMTP\r\n"
        /// Each connection ends after so many messages, without a word.
        var messagesPerConnection = Int.max
    }

    private struct Record {
        var commands: [String] = []
        var messages: [[UInt8]] = []
    }

    let server: TestServer
    private let record: RecordBox

    private final class RecordBox: Sendable {
        let value = Mutex(Record())
    }

    init(_ rules: Rules = Rules()) throws {
        let box = RecordBox()
        self.record = box
        self.server = try TestServer { Self.serve($0, rules, box) }
    }

    var commands: [String] { self.record.value.withLock { $0.commands } }
    var messages: [[UInt8]] { self.record.value.withLock { $0.messages } }

    private static func serve(
        _ connection: TestServer.Connection,
        _ rules: Rules,
        _ box: RecordBox
    ) {
        connection.write(rules.greeting)
        var count = 0
        while let line = connection.readLine() {
            box.value.withLock { $0.commands.append(line) }
            if let rule = rules.replies.first(where: { line.hasPrefix($0.prefix) }) {
                guard rule.reply != "close" else { return }
                connection.write(rule.reply)
                continue
            }
            switch line.prefix(4) {
            case "EHLO":
                let lines = ["hop"] + rules.capabilities
                for (index, text) in lines.enumerated() {
                    connection.write("250\(index == lines.count - 1 ? " " : "-")\(text)\r\n")
                }

            case "DATA", "BDAT":
                let content = connection.readContent(after: line)
                box.value.withLock { $0.messages.append(content) }
                if let rule = rules.replies.first(where: { $0.prefix == "." }) {
                    guard rule.reply != "close" else { return }
                    connection.write(rule.reply)
                } else {
                    connection.write("250 2.0.0 taken\r\n")
                }
                count += 1
                if count >= rules.messagesPerConnection { return }

            case "QUIT":
                return

            default:
                connection.write("250 ok\r\n")
            }
        }
    }
}

extension TestServer.Connection {
    /// The content that follows `DATA`, with its dot, or the chunk of `BDAT`.
    func readContent(after command: String) -> [UInt8] {
        let words = command.split { $0 == " " || $0 == "\r\n" }
        if words.count == 3, words[0] == "BDAT", words[2] == "LAST", let count = Int(words[1]) {
            return self.read(count)
        }
        self.write("354 go\r\n")
        return self.readContent()
    }
}

/// What a hop of a test says to a command.
enum HopReply: Sendable {
    /// It takes everything: 250, and after `DATA` the content.
    case taken
    case said(String)
    /// It says this, and ends the connection.
    case last(String)
}

/// A hop that says to each command what `reply` wants.
///
/// `taken` is called with the connection's number after each content.
func newHop(
    taken: @escaping @Sendable (_ connection: Int) -> Void = { _ in },
    reply: @escaping @Sendable (_ connection: Int, _ command: String) -> HopReply
) throws -> TestServer {
    try TestServer { connection in
        connection.write("220 hop\r\n")
        while let line = connection.readLine() {
            switch reply(connection.number, line) {
            case .said(let text): connection.write(text)
            case .last(let text): return connection.write(text)
            case .taken where line == "DATA\r\n":
                _ = connection.readContent(after: line)
                taken(connection.number)
                connection.write("250 2.0.0 taken\r\n")

            case .taken: connection.write("250 ok\r\n")
            }
        }
    }
}

/// Accepts every recipient.
struct AcceptAnyone: RcptHook {
    static let name = "accept_anyone"
    init(configuration: PluginConfiguration) {}
    func rcpt(_ event: RcptEvent) async throws -> Answer { .ok }
}

/// `line`, and the longest of each time that it does not name: what a test does not wait for must not be
/// over while the test waits for its turn.
func patient(_ line: String) -> String {
    let times = [
        "timeout": 600, "connect_timeout": 60, "hop_timeout": 300, "rest": 3_600,
        "idle_timeout": 3_600,
    ]
    let named = Set(line.split(separator: " ").map { String($0) })
    let more = times.filter { !named.contains($0.key) }.map { "\($0.key) \($0.value)" }
    return ([line] + more.sorted()).joined(separator: " ")
}

/// A session in which alice is a recipient and `queue/smtp-forward` is next; `arguments` are the plugin's.
///
/// An empty `address` leaves the hops to `arguments` and `files`.
func forwarding(
    to address: some CustomStringConvertible,
    _ arguments: String = "",
    files: [String: String] = [:]
) async throws -> TestSession {
    let words = "\(address)".isEmpty ? arguments : patient(arguments)
    let session = try await TestSession(
        [QueueSMTPForward.self, AcceptAnyone.self],
        plugins: "accept_anyone\nqueue/smtp-forward \(address) \(words)",
        files: files.merging(["me": "mx.example.org"]) { first, _ in first }
    )
    try await session.mail(from: "bob@example.net")
    try await session.rcpt(to: "alice@example.org")
    return session
}

func forwarding(to hop: FakeHop, _ arguments: String = "") async throws -> TestSession {
    try await forwarding(to: hop.server.address, arguments)
}
