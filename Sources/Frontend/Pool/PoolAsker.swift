import JSON
import PolicyCore
import PolicyProtocol

/// What waits for a pool's answer: a session, or a shadow's copy of its question.
protocol PoolAsker: AnyObject {
    /// The hook that is being asked about; `nil` once the asker no longer waits.
    var openHook: Hook? { get }
    var sessionID: String { get }
    /// `nil` outside of a transaction.
    var transactionID: String? { get }
    /// The event's `key`.
    var key: [UInt8] { get }
    /// What makes this question this client's and no other's.
    var fingerprint: UInt64 { get }
    /// The message's file; `nil` if there is none, or none that is whole.
    var messagePath: String? { get }
    /// The message has to be held until its time (RFC 4865), so `queue` goes only to a worker that does so.
    var isHeld: Bool { get }

    /// Writes the question as an event line.
    ///
    /// - Returns: False, and nothing is written, when it does not fit even without its optional parts.
    func writeEvent(
        _ head: EventHead,
        to addressee: EventAddressee,
        into writer: inout JSONWriter
    ) -> Bool

    /// The worker has declined up to `hook` and begins with that.
    ///
    /// - Returns: False, and nothing has changed, when the event did not name it as ahead.
    func wentAhead(to hook: Hook) -> Bool

    /// Checks a verdict.
    ///
    /// - Returns: What is wrong with it.
    func judge(_ verdict: PolicyVerdict) -> ProtocolViolation?

    /// The pool is done with the question, one way or the other; called once.
    ///
    /// `peerUserID` is the uid of the worker that answered; `.max` if none did.
    func poolDone(_ outcome: PoolOutcome, peerUserID: UInt32)
}
