import Configuration
import Logging
import NIOPosix
public import PolicyKit

/// An SMTP session without a frontend: asks plugins at one hook after the other, and keeps what they
/// did to the session as the frontend would.
///
/// ```swift
/// let session = try TestSession([EarlyTalker.self], plugins: "earlytalker defer-reject 1")
/// session.isEarlyTalker = true
/// let first = try await session.connect()
/// let second = try await session.mail(from: "bob@example.net")
/// #expect(first == .declined && second.verdict == .deny)
/// #expect(session.note(.karma) == -1)
/// ```
///
/// The plugins are loaded as a worker loads them, from a configuration folder that exists as long as
/// the session. For one task at a time.
public final class TestSession {
    /// The client's address.
    public var clientIP = "192.0.2.1"
    /// The client's name, as `session.client_name` set it.
    public var clientName: String?
    /// How the connection is encrypted; `nil` until ``encrypt(fingerprint:keyFingerprint:subject:isVerified:)``.
    public internal(set) var tls: SessionSnapshot.TLS?
    /// Whether the session may relay.
    public var relay = false
    /// Who the client proved to be: `nil` until ``auth(_:_:mechanism:)`` was answered `ok`.
    public var authentication: SessionSnapshot.Authentication?
    /// How many logins of this session were refused.
    public internal(set) var failedLogins = 0
    /// What the last login was answered with, if that was a challenge.
    public internal(set) var challenge: (octets: Bytes, state: Bytes)?
    /// What the next login's ``HookEvent/recentFailures`` are.
    public var recentFailures = LoginFailures()
    /// Whether the client spoke too early.
    public var isEarlyTalker = false
    /// The time of the session and of ``store``.
    public let clock: TestClock
    /// What the plugins store: `configuration.store(named: NAME)` is the entries whose keys begin with
    /// `NAME/`.
    public let store: MemoryStore
    /// The time, in Unix milliseconds.
    ///
    /// Nothing but the test moves it.
    public var nowMilliseconds: Int64 {
        get { self.clock.nowMilliseconds }
        set { self.clock.nowMilliseconds = newValue }
    }
    /// How long a plugin may take.
    ///
    /// Long, because on a busy machine the tests' wait for each other is part of it. A test of what a
    /// plugin does when its time is over sets a short one.
    public var deadline = Duration.seconds(600)
    /// The header fields of the message, as plugins so far left them.
    public internal(set) var headers: [HeaderField] = []
    /// The recipients so far.
    public internal(set) var recipients: [Recipient] = []
    /// The sender; `nil` outside a transaction.
    public internal(set) var sender: Sender?
    /// How long the last reply was to be delayed.
    public internal(set) var delayMilliseconds: Int64?
    /// What every plugin answered so far.
    public internal(set) var trace: [TraceEntry] = []
    /// Recipients that plugins refused when the message had come, and with what.
    public internal(set) var refusedRecipients: [(recipient: Recipient, answer: Answer)] = []
    /// Whether the client hears a reply for each recipient, as with LMTP.
    public var repliesEach = false
    /// When the message may be released, in Unix milliseconds; `nil`: at once.
    public var holdUntilMilliseconds: Int64?
    /// The file that was to replace the message.
    public internal(set) var replacementPath: String?

    let folder: TestFolder
    let plugins: LoadedPlugins
    let logger: Logger
    let chains: HookTable<HookChain>
    var hello: (verb: String, name: String)?
    var sessionNotes: [String: JSONValue] = [:]
    var transactionNotes: [String: JSONValue] = [:]
    var message: MessageReference?
    /// The last id that a header field was given.
    var lastHeaderID: Int64 = 0
    var events = 0

    /// Loads `types` as the lines of `config/plugins` say.
    ///
    /// - Parameters:
    ///   - types: The plugins that the lines may name.
    ///   - lines: The content of `config/plugins`.
    ///   - files: The control files: name and content.
    ///   - resolver: What answers the plugins' questions to the DNS, mostly a ``TestResolver``; `nil`:
    ///     the servers of `worker.toml` among the files.
    ///   - otherStore: What plugins use in the place of ``store``, mostly a ``FailingStore``.
    /// - Throws: Everything that is wrong in lines and files.
    public init(
        _ types: [any Plugin.Type],
        plugins lines: String,
        files: [String: String] = [:],
        resolver: (any NameResolver)? = nil,
        store otherStore: (any Store)? = nil
    ) async throws {
        self.folder = try TestFolder()
        for (name, content) in files.merging(["plugins": lines], uniquingKeysWith: { $1 }) {
            try self.folder.write(content, to: "config/\(name)")
        }
        var logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        logger.logLevel = .trace
        self.logger = logger
        let clock = TestClock()
        self.clock = clock
        self.store = MemoryStore { clock.nowMilliseconds }
        let configuration = try WorkerConfiguration.load(directory: self.folder.path + "/config")
        let shared = SharedResources(
            eventLoop: MultiThreadedEventLoopGroup.singleton.any(),
            logger: logger,
            configuration: configuration,
            controlFiles: ControlFiles(directories: configuration.controlDirectories) { _ in },
            store: otherStore ?? self.store,
            resolver: resolver
        )
        self.plugins = try LoadedPlugins(
            PluginsFile.load(directories: configuration.controlDirectories).lines,
            from: PluginRegistry(types),
            shared: shared
        )
        self.chains = self.plugins.chains()
        try await self.plugins.start()
    }

    /// Ends the plugins.
    public func stop() async {
        await self.plugins.stop()
    }

    /// Writes a control file anew; sessions that start later see it.
    public func write(_ content: String, to name: String) throws {
        try self.folder.write(content, to: "config/\(name)")
    }

    /// A note of session or transaction, as plugins so far left it.
    public func note<Value>(_ key: NoteKey<Value>) -> Value? {
        self.notes(key.scope)[key.name].flatMap { Value(json: $0) }
    }

    /// Sets a note as if another plugin had.
    public func setNote<Value>(_ key: NoteKey<Value>, to value: Value?) {
        switch key.scope {
        case .session: self.sessionNotes[key.name] = value?.json
        case .transaction: self.transactionNotes[key.name] = value?.json
        }
    }

    /// The plugins that are asked or told at `hook`, in order.
    public func plugins(at hook: Hook) -> [String] {
        self.plugins.instances(at: hook)
    }

    func notes(_ scope: NoteScope) -> [String: JSONValue] {
        switch scope {
        case .session: self.sessionNotes
        case .transaction: self.transactionNotes
        }
    }
}
