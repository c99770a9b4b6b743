package import Logging

/// An event as it came, each part decoded only when it is asked for.
///
/// The seam between the wire and the plugins: a worker has a received line behind it, a test has
/// values.
package protocol EventPicture {
    var hook: Hook { get }
    /// Whether ``hook`` is not the event's own, but one that was ahead.
    var isAhead: Bool { get }
    var key: String { get }
    var attempt: Int { get }

    func session() throws -> SessionSnapshot
    func transaction() throws -> TransactionSnapshot?
    func recipients() throws -> [Recipient]
    func headers() throws -> [HeaderField]
    func trace() throws -> [TraceEntry]
    func notes(_ scope: NoteScope) throws -> [String: JSONValue]
    func sender() throws -> Sender
    func recipient() throws -> Recipient
    func octets(_ argument: StaticString) throws -> Bytes
    func value(_ argument: StaticString) throws -> JSONValue?
}

/// What surrounds the handling of an event: time, log, folders.
package struct EventEnvironment: Sendable {
    /// The worker's logger.
    package var logger: Logger
    /// When the event came, in Unix milliseconds.
    package var nowMilliseconds: Int64
    /// When its task is cancelled.
    package var deadline: ContinuousClock.Instant
    /// Where files that replace a message are written.
    package var outFolder: String
    /// What asks the frontend for more time; `nil` where no session waits for an answer.
    package var link: (any EventLink)?
    /// What ``link`` knows the event as.
    package var eventID: Int64

    package init(
        logger: Logger,
        nowMilliseconds: Int64,
        deadline: ContinuousClock.Instant,
        outFolder: String,
        link: (any EventLink)? = nil,
        eventID: Int64 = 0
    ) {
        self.logger = logger
        self.nowMilliseconds = nowMilliseconds
        self.deadline = deadline
        self.outFolder = outFolder
        self.link = link
        self.eventID = eventID
    }
}

/// Where an event came from, for what a plugin may ask of the frontend before it answers.
package protocol EventLink: Sendable {
    /// The event needs longer.
    func extend(_ id: Int64, by duration: Duration)
}
