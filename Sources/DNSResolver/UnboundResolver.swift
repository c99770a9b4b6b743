package import DomainNames
import Glibc
import Synchronization

/// Asks the DNS through libunbound, from any task.
///
/// One thread owns the library's context: it takes questions from an inbox, waits in `poll` for
/// answers, commands and deadlines, and resumes the task that asked. All calls into the library are
/// its, one after the other, so a late answer, a cancellation and a deadline cannot meet. (The
/// library's own descriptor could be watched by an event loop; but then each of its calls, and
/// freeing the context, would wait for that loop, and for the mail that it serves.)
///
/// Safe from any task or thread. Ends with ``shutdown()`` or when the last reference goes; what
/// is under way then is answered `.failure(.closed)`.
package final class UnboundResolver: Sendable {
    private let inbox: ResolverInbox
    private let timeout: Duration
    private let lastID = Atomic<UInt64>(0)

    /// Sets the library up and starts the thread.
    package init(_ configuration: DNSConfiguration) throws(DNSSetupError) {
        self.inbox = try ResolverInbox(capacity: configuration.maximumOutstanding)
        self.timeout = configuration.timeout
        do {
            try ResolverThread.start(configuration, inbox: self.inbox)
        } catch {
            self.inbox.discard()
            throw error
        }
    }

    deinit { self.inbox.close() }

    /// The resolver that all plugins of this process with this configuration share.
    ///
    /// It lives as long as a reference to it; no user of it may shut it down.
    package static func shared(
        _ configuration: DNSConfiguration
    ) throws(DNSSetupError) -> UnboundResolver {
        try Self.resolvers.withLock { resolvers throws(DNSSetupError) in
            if let resolver = resolvers[configuration]?.resolver { return resolver }
            let resolver = try UnboundResolver(configuration)
            resolvers[configuration] = Weak(resolver: resolver)
            return resolver
        }
    }

    private struct Weak {
        weak var resolver: UnboundResolver?
    }

    private static let resolvers = Mutex<[DNSConfiguration: Weak]>([:])

    /// Answers everything under way with `.failure(.closed)` and ends the thread.
    package func shutdown() { self.inbox.close() }

    /// Asks one question.
    ///
    /// - Parameters:
    ///   - name: The name to look up; no search list is applied.
    ///   - type: The record type; class IN.
    ///   - deadline: When the answer is of no use any more; `nil`: the configured time.
    /// - Returns: The answer, at the latest at the deadline. Cancelling the task answers
    ///   `.failure(.cancelled)` at once.
    package func query(
        _ name: DNSName,
        _ type: DNSRecordType,
        deadline: ContinuousClock.Instant? = nil
    ) async -> DNSAnswer {
        await self.lookUp(name, type, deadline: deadline).answer
    }

    /// Asks one question; the answer says as well whether DNSSEC vouches for it.
    package func lookUp(
        _ name: DNSName,
        _ type: DNSRecordType,
        deadline: ContinuousClock.Instant? = nil
    ) async -> DNSLookup {
        let id = self.lastID.add(1, ordering: .relaxed).newValue
        let latest = ContinuousClock.now + self.timeout
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                self.inbox.ask(
                    ResolverQuestion(
                        id: id,
                        name: name,
                        type: type,
                        deadline: min(deadline ?? latest, latest),
                        continuation: continuation
                    )
                )
            }
        } onCancel: {
            self.inbox.cancel(id)
        }
        self.inbox.forget(id)
        return answer
    }
}

/// A question on its way to the thread.
struct ResolverQuestion: Sendable {
    let id: UInt64
    let name: DNSName
    let type: DNSRecordType
    let deadline: ContinuousClock.Instant
    let continuation: CheckedContinuation<DNSLookup, Never>

    func fail(_ reason: DNSFailure) {
        self.continuation.resume(returning: DNSLookup(.failure(reason)))
    }
}

/// What tasks hand to the thread, and the pipe that wakes it.
final class ResolverInbox: Sendable {
    private struct State {
        var questions: [ResolverQuestion] = []
        var cancellations: [UInt64] = []
        /// Cancelled before they were asked: the handler may run first.
        var cancelledEarly: Set<UInt64> = []
        var known: Set<UInt64> = []
        var isClosed = false
        var isWoken = false
    }

    /// What the thread takes at once.
    struct Batch {
        var questions: [ResolverQuestion]
        var cancellations: [UInt64]
        var isClosed: Bool
    }

    /// The end of the pipe that the thread polls.
    let wakeDescriptor: CInt
    private let wakeWriteDescriptor: CInt
    private let capacity: Int
    private let state = Mutex(State())

    init(capacity: Int) throws(DNSSetupError) {
        var ends: [CInt] = [-1, -1]
        guard pipe(&ends) == 0 else {
            throw DNSSetupError(description: "pipe: \(String(cString: strerror(errno)))")
        }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        self.wakeDescriptor = ends[0]
        self.wakeWriteDescriptor = ends[1]
        self.capacity = capacity
    }

    /// Takes a question, or answers it at once if it cannot be asked.
    func ask(_ question: ResolverQuestion) {
        let refusal: DNSFailure? = self.state.withLock { state in
            if state.isClosed { return .closed }
            if state.cancelledEarly.remove(question.id) != nil { return .cancelled }
            if state.known.count >= self.capacity { return .overloaded }
            state.known.insert(question.id)
            state.questions.append(question)
            self.wake(&state)
            return nil
        }
        if let refusal { question.fail(refusal) }
    }

    func cancel(_ id: UInt64) {
        self.state.withLock { state in
            guard !state.isClosed else { return }
            guard state.known.contains(id) else {
                state.cancelledEarly.insert(id)
                return
            }
            state.cancellations.append(id)
            self.wake(&state)
        }
    }

    /// Called by the asker when it has its answer: nothing of the query is kept.
    func forget(_ id: UInt64) {
        self.state.withLock { state in
            state.known.remove(id)
            state.cancelledEarly.remove(id)
        }
    }

    func close() {
        self.state.withLock { state in
            guard !state.isClosed else { return }
            state.isClosed = true
            self.wake(&state)
        }
    }

    /// Everything new since the last call; empties the pipe.
    func take() -> Batch {
        self.state.withLock { state in
            var octet: UInt8 = 0
            if state.isWoken { _ = read(self.wakeDescriptor, &octet, 1) }
            state.isWoken = false
            defer {
                state.questions.removeAll(keepingCapacity: true)
                state.cancellations.removeAll(keepingCapacity: true)
            }
            return Batch(
                questions: state.questions,
                cancellations: state.cancellations,
                isClosed: state.isClosed
            )
        }
    }

    /// Closes the pipe, once no task can wake the thread any more.
    func discard() {
        self.state.withLock { state in
            state.isClosed = true
            state.isWoken = true
        }
        Glibc.close(self.wakeDescriptor)
        Glibc.close(self.wakeWriteDescriptor)
    }

    /// At most one octet is ever in the pipe, so the write cannot block.
    private func wake(_ state: inout State) {
        guard !state.isWoken else { return }
        state.isWoken = true
        var octet: UInt8 = 1
        _ = write(self.wakeWriteDescriptor, &octet, 1)
    }
}
