/// A point of the dialogue, as a type: what an event there holds and what may be done there.
public protocol HookStage {}

/// A hook inside a transaction.
public protocol TransactionStage: HookStage {}

/// HELO or EHLO.
public protocol HelloStage: HookStage {}

/// A command with a free argument: VRFY, HELP, NOOP.
public protocol ArgumentStage: HookStage {}

/// A hook where `session.relay` may be set.
public protocol RelayStage: HookStage {}

/// A hook where `session.client_name` may be set.
public protocol ClientNameStage: HookStage {}

/// A hook whose reply may be delayed.
public protocol DelayStage: HookStage {}

/// A hook where the client may be challenged.
public protocol ChallengeStage: HookStage {}

/// A hook where the sender may be replaced.
public protocol SenderStage: HookStage {}

/// A hook where recipients may be added, removed and replaced.
public protocol RecipientStage: HookStage {}

/// A hook where single recipients may be refused.
public protocol RecipientRefusalStage: HookStage {}

/// A hook where header fields may be added, changed and removed.
public protocol HeaderStage: HookStage {}

/// A hook where the whole message may be replaced.
public protocol MessageStage: HookStage {}

/// The end of a hook: `deny` or `ok`.
public protocol OutcomeStage: HookStage {}

/// The hook `connect`.
public enum ConnectStage: RelayStage, ClientNameStage, DelayStage {}

/// The hook `helo`.
public enum HeloStage: HelloStage, RelayStage, DelayStage {}

/// The hook `ehlo`.
public enum EhloStage: HelloStage, RelayStage, DelayStage {}

/// The hook `auth`.
public enum AuthStage: RelayStage, DelayStage, ChallengeStage {}

/// The hook `mail`.
public enum MailStage: TransactionStage, SenderStage, RelayStage, DelayStage {}

/// The hook `rcpt`.
public enum RcptStage: TransactionStage, SenderStage, RecipientStage, RelayStage, DelayStage {}

/// The hook `data`.
public enum DataStage: TransactionStage, SenderStage, RecipientStage {}

/// The hook `data_headers_end`.
public enum DataHeadersEndStage: TransactionStage, SenderStage, RecipientStage, HeaderStage {}

/// The hook `received_line`.
public enum ReceivedLineStage: TransactionStage {}

/// The hook `data_post_headers`.
public enum DataPostHeadersStage:
    TransactionStage, SenderStage, RecipientStage, HeaderStage, MessageStage
{}

/// The hook `data_post`.
public enum DataPostStage:
    TransactionStage, SenderStage, RecipientStage, RecipientRefusalStage, HeaderStage, MessageStage
{}

/// The hook `queue_pre`.
public enum QueuePreStage: TransactionStage, SenderStage, RecipientStage, HeaderStage {}

/// The hook `queue`.
public enum QueueStage: TransactionStage, RecipientRefusalStage {}

/// The hook `vrfy`.
public enum VrfyStage: ArgumentStage {}

/// The hook `help`.
public enum HelpStage: ArgumentStage {}

/// The hook `noop`.
public enum NoopStage: ArgumentStage {}

/// The hook `unrecognized_command`.
public enum UnrecognizedCommandStage: HookStage {}

/// The hook `quit`.
public enum QuitStage: HookStage {}

/// The hook `queue_post`.
public enum QueuePostStage: TransactionStage {}

/// The hook `reset_transaction`.
public enum ResetTransactionStage: TransactionStage {}

/// The hook `deny`.
public enum DenyStage: OutcomeStage {}

/// The hook `ok`.
public enum OkStage: OutcomeStage {}

/// The hook `disconnect`.
public enum DisconnectStage: HookStage {}

/// The hook `status`.
public enum StatusStage: HookStage {}

/// Any hook that is only watched.
public enum ObservedStage: HookStage {}
