/// A piece of policy: one small type that is asked at the hooks it conforms to.
///
/// A plugin says where it wants to be asked by conforming to one protocol a hook
/// (``ConnectHook``, ``MailHook``, ``RcptHook``, …) and writing that protocol's one method. The
/// conformance *is* the registration: without the method it does not compile, and the event types
/// (`MailEvent`, …) have their names inside the hook protocols alone, so a method without the
/// conformance does not compile either.
///
/// ```swift
/// struct RefuseEve: RcptHook {
///     static let name = "refuse_eve"
///     init(configuration: PluginConfiguration) {}
///
///     func rcpt(_ event: RcptEvent) async throws -> Answer {
///         event.recipient.address == "eve@example.com" ? .deny("Eve has left") : .declined
///     }
/// }
/// ```
///
/// One value of the type serves every session of the worker, many at once: keep no session state
/// in it, sessions have notes (``HookEvent/notes``). A method that throws, or that is cancelled at
/// its deadline, answers no verdict: the frontend applies the failure policy of pool and hook.
public protocol Plugin: Sendable {
    /// The name in `config/plugins`: `badmailfrom`, `queue/maildir`.
    static var name: String { get }

    /// Older names that load this plugin as well, with one warning. None by default.
    static var aliases: [String] { get }

    /// Reads the arguments and control files of one line of `config/plugins`.
    ///
    /// Wrong arguments are recorded by `configuration`, all of them, and need no handling here.
    ///
    /// - Throws: Anything that keeps the plugin from working. The worker then does not start.
    init(configuration: PluginConfiguration) throws

    /// What this plugin wants at `hook`, one of the hooks it conforms to. Asked once, after loading.
    ///
    /// - Returns: `nil`: with these arguments it is not to be asked there. By default a plain
    ///   ``Subscription``.
    func subscription(at hook: Hook) -> Subscription?

    /// Called once, after every plugin was loaded and before the worker says hello.
    ///
    /// - Throws: Anything that keeps the plugin from working. The worker then does not start.
    func start() async throws

    /// Called once, after the last answer, when the worker leaves.
    func stop() async
}

extension Plugin {
    /// None.
    public static var aliases: [String] { [] }

    /// To be asked, and nothing more.
    public func subscription(at hook: Hook) -> Subscription? { Subscription() }

    /// Nothing to start.
    public func start() async throws {}

    /// Nothing to stop.
    public func stop() async {}
}

/// What a plugin wants at a hook beyond being asked.
public struct Subscription: Sendable, Equatable {
    /// The parts of the picture that cost something and are sent only on request.
    public var needs: Needs

    /// Whether the same event may be handled twice without harm (`HookEvent/key` tells that it is
    /// the same).
    ///
    /// Decides at `queue` and `auth` whether an unanswered event is asked again elsewhere; the
    /// other hooks are always asked again.
    public var isIdempotent: Bool

    /// At `queue`: the SMTP extensions that the plugin keeps for each message that it takes.
    ///
    /// A worker says FUTURERELEASE to the frontend if all of its plugins at `queue` keep it, and only then
    /// clients are offered it: a plugin that keeps it does not release a message before
    /// ``TransactionSnapshot/holdUntilMilliseconds``, or does not take it. At other hooks it says nothing.
    public var extensions: QueueExtensions

    /// The name of a plugin before which this one is asked, wherever their lines stand; `gatepost check` warns of
    /// lines in the other order.
    package var precedes: String?

    /// A subscription to a hook.
    public init(
        _ needs: Needs = [],
        isIdempotent: Bool = false,
        extensions: QueueExtensions = []
    ) {
        self.needs = needs
        self.isIdempotent = isIdempotent
        self.extensions = extensions
    }
}

/// A plugin that puts refusals of other plugins of its worker off, at `connect`, `helo`, `ehlo` and `mail`, and
/// refuses for them later.
package protocol RefusalDelay: Plugin {
    /// Whether refusals of the plugin of this name are put off.
    func delaysRefusals(of plugin: Substring) -> Bool
}

extension Needs {
    /// What ``HookEvent/message`` takes: the header fields and the file.
    public static let wholeMessage: Self = [.headers, .message]
}
