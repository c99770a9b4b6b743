// One protocol a hook: its event's name and its one method. What a stage may do to session and
// transaction follows from the protocol of the same trait in Stages.swift.

/// A client has connected; asked before the banner.
public protocol ConnectHook: Plugin {
    /// The event at `connect`.
    typealias ConnectEvent = HookEvent<ConnectStage>

    /// Answers the event at `connect`.
    func connect(_ event: ConnectEvent) async throws -> Answer
}

/// The client said HELO.
public protocol HeloHook: Plugin {
    /// The event at `helo`.
    typealias HeloEvent = HookEvent<HeloStage>

    /// Answers the event at `helo`.
    func helo(_ event: HeloEvent) async throws -> Answer
}

/// The client said EHLO.
public protocol EhloHook: Plugin {
    /// The event at `ehlo`.
    typealias EhloEvent = HookEvent<EhloStage>

    /// Answers the event at `ehlo`.
    func ehlo(_ event: EhloEvent) async throws -> Answer
}

/// The client wants to authenticate.
public protocol AuthHook: Plugin {
    /// The event at `auth`.
    typealias AuthEvent = HookEvent<AuthStage>

    /// Answers the event at `auth`.
    func auth(_ event: AuthEvent) async throws -> Answer
}

/// The client named the sender (MAIL FROM).
public protocol MailHook: Plugin {
    /// The event at `mail`.
    typealias MailEvent = HookEvent<MailStage>

    /// Answers the event at `mail`.
    func mail(_ event: MailEvent) async throws -> Answer
}

/// The client named a recipient (RCPT TO).
public protocol RcptHook: Plugin {
    /// The event at `rcpt`.
    typealias RcptEvent = HookEvent<RcptStage>

    /// Answers the event at `rcpt`.
    func rcpt(_ event: RcptEvent) async throws -> Answer
}

/// The client said DATA.
public protocol DataHook: Plugin {
    /// The event at `data`.
    typealias DataEvent = HookEvent<DataStage>

    /// Answers the event at `data`.
    func data(_ event: DataEvent) async throws -> Answer
}

/// The header section of the message has arrived; the body has not.
public protocol DataHeadersEndHook: Plugin {
    /// The event at `data_headers_end`.
    typealias DataHeadersEndEvent = HookEvent<DataHeadersEndStage>

    /// Answers the event at `data_headers_end`.
    func dataHeadersEnd(_ event: DataHeadersEndEvent) async throws -> Answer
}

/// The frontend made the value of its Received field; answer ``Answer/ok(_:code:status:)`` to replace it.
public protocol ReceivedLineHook: Plugin {
    /// The event at `received_line`.
    typealias ReceivedLineEvent = HookEvent<ReceivedLineStage>

    /// Answers the event at `received_line`.
    func receivedLine(_ event: ReceivedLineEvent) async throws -> Answer
}

/// The message has arrived; for additions to its header.
public protocol DataPostHeadersHook: Plugin {
    /// The event at `data_post_headers`.
    typealias DataPostHeadersEvent = HookEvent<DataPostHeadersStage>

    /// Answers the event at `data_post_headers`.
    func dataPostHeaders(_ event: DataPostHeadersEvent) async throws -> Answer
}

/// The message has arrived; the last point to refuse it.
public protocol DataPostHook: Plugin {
    /// The event at `data_post`.
    typealias DataPostEvent = HookEvent<DataPostStage>

    /// Answers the event at `data_post`.
    func dataPost(_ event: DataPostEvent) async throws -> Answer
}

/// The message was accepted and is about to be queued.
public protocol QueuePreHook: Plugin {
    /// The event at `queue_pre`.
    typealias QueuePreEvent = HookEvent<QueuePreStage>

    /// Answers the event at `queue_pre`.
    func queuePre(_ event: QueuePreEvent) async throws -> Answer
}

/// The message is to be made durable; ``Answer/ok`` says that it is.
public protocol QueueHook: Plugin {
    /// The event at `queue`.
    typealias QueueEvent = HookEvent<QueueStage>

    /// Answers the event at `queue`.
    func queue(_ event: QueueEvent) async throws -> Answer
}

/// The client said VRFY.
public protocol VrfyHook: Plugin {
    /// The event at `vrfy`.
    typealias VrfyEvent = HookEvent<VrfyStage>

    /// Answers the event at `vrfy`.
    func vrfy(_ event: VrfyEvent) async throws -> Answer
}

/// The client said HELP.
public protocol HelpHook: Plugin {
    /// The event at `help`.
    typealias HelpEvent = HookEvent<HelpStage>

    /// Answers the event at `help`.
    func help(_ event: HelpEvent) async throws -> Answer
}

/// The client said NOOP.
public protocol NoopHook: Plugin {
    /// The event at `noop`.
    typealias NoopEvent = HookEvent<NoopStage>

    /// Answers the event at `noop`.
    func noop(_ event: NoopEvent) async throws -> Answer
}

/// The client said something that is no command.
public protocol UnrecognizedCommandHook: Plugin {
    /// The event at `unrecognized_command`.
    typealias UnrecognizedCommandEvent = HookEvent<UnrecognizedCommandStage>

    /// Answers the event at `unrecognized_command`.
    func unrecognizedCommand(_ event: UnrecognizedCommandEvent) async throws -> Answer
}

/// The client said QUIT.
public protocol QuitHook: Plugin {
    /// The event at `quit`.
    typealias QuitEvent = HookEvent<QuitStage>

    /// Answers the event at `quit`.
    func quit(_ event: QuitEvent) async throws -> Answer
}

/// The message was queued, or could not be.
///
/// Told, not asked.
public protocol QueuePostHook: Plugin {
    /// The event at `queue_post`.
    typealias QueuePostEvent = HookEvent<QueuePostStage>

    /// Takes note of the event at `queue_post`.
    func queuePost(_ event: QueuePostEvent) async throws
}

/// The transaction is over, whatever its end.
///
/// Told, not asked.
public protocol ResetTransactionHook: Plugin {
    /// The event at `reset_transaction`.
    typealias ResetTransactionEvent = HookEvent<ResetTransactionStage>

    /// Takes note of the event at `reset_transaction`.
    func resetTransaction(_ event: ResetTransactionEvent) async throws
}

/// A hook ended in a refusal.
///
/// Told, not asked.
public protocol DenyHook: Plugin {
    /// The event at `deny`.
    typealias DenyEvent = HookEvent<DenyStage>

    /// Takes note of the event at `deny`.
    func deny(_ event: DenyEvent) async throws
}

/// A hook ended without a refusal.
///
/// Told, not asked.
public protocol OkHook: Plugin {
    /// The event at `ok`.
    typealias OkEvent = HookEvent<OkStage>

    /// Takes note of the event at `ok`.
    func ok(_ event: OkEvent) async throws
}

/// The session is over.
///
/// Told, not asked.
public protocol DisconnectHook: Plugin {
    /// The event at `disconnect`.
    typealias DisconnectEvent = HookEvent<DisconnectStage>

    /// Takes note of the event at `disconnect`.
    func disconnect(_ event: DisconnectEvent) async throws
}

/// Once a second: how the frontend is doing.
///
/// Told, not asked.
public protocol StatusHook: Plugin {
    /// The event at `status`.
    typealias StatusEvent = HookEvent<StatusStage>

    /// Takes note of the event at `status`.
    func status(_ event: StatusEvent) async throws
}

/// Watches hooks without a say: it is told what the client did, when that goes to the
/// plugins that decide.
///
/// Nothing that an observer does or fails to do delays a session.
public protocol ObserverHook: Plugin {
    /// Any event that is only watched.
    typealias ObservedEvent = HookEvent<ObservedStage>

    /// The hooks to be told of, and not to be asked at. Read once, after loading.
    var observedHooks: Set<Hook> { get }

    /// Takes note of the event at ``HookEvent/hook``.
    func observe(_ event: ObservedEvent) async throws
}
