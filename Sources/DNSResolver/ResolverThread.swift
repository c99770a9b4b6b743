import CUnbound
import Glibc

/// The loop that owns the libunbound context, and every query under way.
///
/// Confined to its thread: made there, used there, freed there.
final class ResolverThread {
    /// A query that the library works on: the object that the library points to.
    final class Pending {
        let question: ResolverQuestion
        let answered: Answered
        var libraryID: CInt = 0
        /// Its asker was answered already; only the library still has to let go of it.
        var isAbandoned = false

        init(_ question: ResolverQuestion, answered: Answered) {
            self.question = question
            self.answered = answered
        }
    }

    /// What the library's callbacks leave behind, for the loop to pick up.
    final class Answered {
        var answers: [(id: UInt64, answer: DNSLookup)] = []
    }

    /// `nil` after the library's own thread was lost; made again for the next question.
    private var context: UnboundContext?
    private let configuration: DNSConfiguration
    private let inbox: ResolverInbox
    private let answered = Answered()
    private var pending: [UInt64: Pending] = [:]
    /// Never later than the earliest deadline in ``pending``.
    private var nextDeadline: ContinuousClock.Instant?

    private init(
        _ configuration: DNSConfiguration,
        inbox: ResolverInbox
    ) throws(DNSSetupError) {
        self.context = try UnboundContext(configuration)
        self.configuration = configuration
        self.inbox = inbox
    }

    /// What crosses to the new thread.
    ///
    /// `@unchecked`: handed over whole by `pthread_create`; the maker keeps nothing of it.
    private final class Luggage: @unchecked Sendable {
        let thread: ResolverThread
        init(_ thread: ResolverThread) { self.thread = thread }
    }

    /// Makes the context, so that a bad configuration is an error here, and starts the thread.
    static func start(
        _ configuration: DNSConfiguration,
        inbox: ResolverInbox
    ) throws(DNSSetupError) {
        let thread = try ResolverThread(configuration, inbox: inbox)
        let luggage = Unmanaged.passRetained(Luggage(thread))
        var handle = pthread_t()
        let code = pthread_create(
            &handle,
            nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Luggage>.fromOpaque(argument).takeRetainedValue().thread.run()
                return nil
            },
            luggage.toOpaque()
        )
        guard code == 0 else {
            luggage.release()
            throw DNSSetupError(description: "thread: \(String(cString: strerror(code)))")
        }
        pthread_detach(handle)
    }

    private func run() {
        while true {
            let batch = self.inbox.take()
            for question in batch.questions { self.start(question) }
            for id in batch.cancellations { self.abandon(id, .cancelled) }
            if batch.isClosed { break }
            self.wait()
            if self.context?.process() == false { self.contextLost() }
            self.finish()
            self.expire()
        }
        self.context = nil
        self.failAll(.closed)
        self.inbox.discard()
    }

    private func start(_ question: ResolverQuestion) {
        let entry = Pending(question, answered: self.answered)
        if self.context == nil { self.context = try? UnboundContext(self.configuration) }
        let started = self.context?.start(
            question.name,
            question.type,
            argument: Unmanaged.passUnretained(entry).toOpaque(),
            callback: { argument, code, result in
                guard let argument else { return }
                let entry = Unmanaged<Pending>.fromOpaque(argument).takeUnretainedValue()
                let type = entry.question.type
                let answer = DNSLookup(consuming: result, code: code, type: type)
                entry.answered.answers.append((entry.question.id, answer))
            }
        )
        switch started {
        case .success(let id)?:
            entry.libraryID = id
            self.pending[question.id] = entry
            self.nextDeadline = min(self.nextDeadline ?? question.deadline, question.deadline)
        case .failure(let failure)?:
            question.fail(failure)
        case nil:
            question.fail(.library(code: UB_INITFAIL.rawValue))
        }
    }

    /// Sleeps until the library, the inbox or a deadline wants something.
    private func wait() {
        var descriptors = [
            pollfd(fd: self.inbox.wakeDescriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: self.context?.descriptor ?? -1, events: Int16(POLLIN), revents: 0),
        ]
        var milliseconds: CInt = -1
        if let deadline = self.nextDeadline {
            let left = ContinuousClock.now.duration(to: deadline).components
            let whole = left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000
            milliseconds = CInt(clamping: max(0, whole + 1))
        }
        _ = poll(&descriptors, nfds_t(descriptors.count), milliseconds)
    }

    /// Resumes the tasks that have an answer now.
    private func finish() {
        for (id, answer) in self.answered.answers {
            guard let entry = self.pending.removeValue(forKey: id) else { continue }
            if !entry.isAbandoned { entry.question.continuation.resume(returning: answer) }
        }
        self.answered.answers.removeAll(keepingCapacity: true)
    }

    private func expire() {
        let now = ContinuousClock.now
        guard let nextDeadline = self.nextDeadline, nextDeadline <= now else { return }
        self.nextDeadline = nil
        for (id, entry) in self.pending where !entry.isAbandoned {
            if entry.question.deadline <= now {
                self.abandon(id, .timedOut)
            } else {
                let deadline = entry.question.deadline
                self.nextDeadline = min(self.nextDeadline ?? deadline, deadline)
            }
        }
    }

    /// Answers the asker now; lets go of the query as soon as the library has.
    private func abandon(_ id: UInt64, _ reason: DNSFailure) {
        guard let entry = self.pending[id], !entry.isAbandoned else { return }
        entry.isAbandoned = true
        if self.context?.cancel(entry.libraryID) ?? true { self.pending[id] = nil }
        entry.question.fail(reason)
    }

    /// The library cannot go on: its thread or its pipe is gone.
    private func contextLost() {
        self.context = nil
        self.failAll(.library(code: UB_PIPE.rawValue))
    }

    /// Only without a context: nothing may point to the entries any more.
    private func failAll(_ reason: DNSFailure) {
        for entry in self.pending.values where !entry.isAbandoned {
            entry.question.fail(reason)
        }
        self.pending.removeAll()
        self.answered.answers.removeAll()
    }
}
