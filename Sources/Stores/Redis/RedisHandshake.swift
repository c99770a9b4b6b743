import RESP

/// What is said on a new connection before any call: HELLO with the login, or AUTH where the server does not
/// know that, then SELECT.
struct RedisHandshake {
    /// What to do next.
    enum Step: Equatable {
        case send([[UInt8]])
        case done
        /// Why the server is of no use, in its words.
        case failed(String)
    }

    private enum State {
        case start, hello, login, select, over
    }

    private let user: String?
    private let password: String?
    private let database: Int
    private var state = State.start

    init(user: String?, password: String?, database: Int) {
        self.user = user
        self.password = password
        self.database = database
    }

    /// The first command.
    mutating func start() -> Step {
        self.state = .hello
        var words = ["HELLO", "3"]
        if let password { words += ["AUTH", self.user ?? "default", password] }
        return Self.command(words)
    }

    /// The reply to the last command has come.
    mutating func received(_ reply: RESPValue) -> Step {
        switch (self.state, reply) {
        case (.hello, .array): return self.select()

        case (.hello, .error(let words)) where Self.isUnknown(words):
            // RESP2: Redis before 6, or a proxy.
            guard let password else { return self.select() }
            self.state = .login
            return Self.command(["AUTH"] + (self.user.map { [$0] } ?? []) + [password])

        case (.login, .string): return self.select()

        case (.select, .string):
            self.state = .over
            return .done

        case (_, .error(let words)):
            self.state = .over
            return .failed(self.withoutPassword(words))

        case (_, .string), (_, .integer), (_, .null), (_, .array), (_, .push):
            self.state = .over
            return .failed("the answer to the greeting makes no sense")
        }
    }

    private mutating func select() -> Step {
        guard self.database != 0 else {
            self.state = .over
            return .done
        }
        self.state = .select
        return Self.command(["SELECT", "\(self.database)"])
    }

    private static func isUnknown(_ words: String) -> Bool {
        words.hasPrefix("NOPROTO") || words.lowercased().hasPrefix("err unknown command")
    }

    /// A server may repeat what it was sent.
    private func withoutPassword(_ words: String) -> String {
        guard let password, !password.isEmpty else { return words }
        return words.replacing(password, with: "…")
    }

    private static func command(_ words: [String]) -> Step { .send(words.map { Array($0.utf8) }) }
}
