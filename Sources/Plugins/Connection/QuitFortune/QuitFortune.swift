package import PolicyKit

/// Says something wise to a client that said HELO and leaves.
///
/// See README.md.
package struct QuitFortune: QuitHook {
    package static let name = "quit_fortune"

    /// The most lines of a fortune.
    static let maximumLines = 18
    /// The most octets of a line.
    static let maximumLineOctets = 400

    private static let program = "/usr/games/fortune"
    private static let deadline = Duration.seconds(1)

    private let hostname: String
    private let source: FortuneSource?

    package init(configuration: PluginConfiguration) throws {
        self.hostname = configuration.shared.hostname
        if let path = configuration.argument("file", as: .text) {
            let book = try FortuneBook(path: configuration.resolve(path: path))
            self.source = .book(book)
        } else if FortuneProgram.isExecutable(Self.program) {
            self.source = .program(FortuneProgram(path: Self.program, arguments: ["-s"]))
        } else {
            configuration.logger.notice("\(Self.program) is not there: no fortunes")
            self.source = nil
        }
    }

    package func subscription(at hook: Hook) -> Subscription? {
        self.source == nil ? nil : Subscription()
    }

    package func quit(_ event: QuitEvent) async throws -> Answer {
        guard let source = self.source, event.session.hello?.isExtended == false else {
            return .declined
        }
        let text: [UInt8]
        do {
            text = try await source.fortune(within: Self.deadline)
        } catch {
            return event.error("no fortune: \(error)")
        }
        let lines = Self.lines(of: text)
        guard !lines.isEmpty else { return event.skip("empty fortune") }
        let reply = ["\(self.hostname) closing connection."] + lines.map { "  / \($0)" }
        return .done(221, "2.0.0", reply.joined(separator: "\n"))
    }

    /// The lines of a fortune as a reply may have them: printable ASCII, bounded in number and
    /// length, none empty.
    static func lines(of text: [UInt8]) -> [String] {
        let lines = text.split(separator: UInt8(ascii: "\n")).map { line in
            let printable = line.lazy.map { $0 == 0x09 ? 0x20 : $0 }.filter { 0x20...0x7E ~= $0 }
            return String(decoding: Array(printable.prefix(Self.maximumLineOctets)), as: UTF8.self)
        }
        return Array(lines.filter { !$0.isEmpty }.prefix(Self.maximumLines))
    }
}

/// Where fortunes come from.
enum FortuneSource: Sendable {
    case book(FortuneBook)
    case program(FortuneProgram)

    func fortune(within deadline: Duration) async throws -> [UInt8] {
        switch self {
        case .book(let book):
            book.fortunes.randomElement() ?? []

        case .program(let program):
            try await withBlockingThread { try program.output(within: deadline) }
        }
    }
}
