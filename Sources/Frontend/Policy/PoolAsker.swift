import JSON
import PolicyProtocol

/// Who waits for a pool's answer: a session, or a shadow's copy of its question.
protocol PoolAsker: AnyObject {
    /// The hook that is being asked about; `nil` once nobody waits.
    var openHook: Hook? { get }
    var sessionID: String { get }
    /// `nil` outside of a transaction.
    var transactionID: String? { get }
    /// What makes this question this client's and no other's.
    var fingerprint: UInt64 { get }
    /// The message's file; `nil` if there is none, or none that is whole.
    var messagePath: String? { get }

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

/// What one pool said.
enum PoolOutcome {
    case answered(PolicyVerdict, worker: WorkerLabel)
    case failed(reason: String, worker: WorkerLabel?)
    /// Nobody in the pool wants to be asked after all.
    case passedOver
}

/// Who is to get an event, and what they asked for.
struct EventAddressee {
    let needs: EventNeeds
    let maximumFrameOctets: Int
}

/// What an event says of one attempt at it.
struct EventHead {
    let id: Int64
    let attempt: Int
    let deadlineMS: Int64

    /// Octets that it takes in a line, at most: a key has no more than 64.
    static let mostOctets = 256

    func encode(key: [UInt8], into writer: inout JSONWriter) {
        writer.fragment(#""type":"event","id":"#)
        writer.int(self.id)
        writer.fragment(#","key":"#)
        writer.bytes(key)
        writer.fragment(#","attempt":"#)
        writer.int(Int64(self.attempt))
        writer.fragment(#","deadline_ms":"#)
        writer.int(self.deadlineMS)
    }
}
