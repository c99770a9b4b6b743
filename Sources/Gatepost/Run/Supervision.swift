import System

/// Keeps a frontend and its workers running.
///
/// Pure: the ``Supervisor`` tells it what happened, and performs the actions that it answers. A
/// child that dies is started again, the first time after 50 ms, then after longer and longer
/// pauses, without end. Only before the first `ready` does a mistake in the configuration end
/// everything, because then the operator is looking. A child whose event loop stands still gets
/// SIGTERM, and SIGKILL ``killAfterMS`` later; the next child starts when it is gone, so that there
/// are never two.
///
/// To stop, the frontend drains first, because its transactions still need workers; when it is
/// gone, the workers drain. A second request kills all children.
struct Supervision {
    /// The number of one start of one program; never used again.
    typealias ChildID = Int

    enum Role: Equatable, Sendable {
        case frontend
        /// Counted from 1.
        case worker(Int)
    }

    enum Signal: Equatable, Sendable {
        case terminate
        case hangup
        case kill
    }

    enum Action: Equatable, Sendable {
        case spawn(ChildID, Role)
        case signal(ChildID, Signal)
        /// Print the line: the frontend accepts mail. Once for each start of the frontend.
        case announce(String)
        case log(String)
        /// All children have ended: end this process with this code.
        case exit(Int32)
    }

    /// How a child ended.
    enum Ending: Equatable, Sendable {
        case exited(Int32)
        case killed(signal: Int32)
        /// The program could not be started.
        case notStarted(reason: String)
    }

    struct Settings {
        var workers = 2
        /// How long the frontend may drain before it is killed; then workers may drain as long.
        var shutdownMS: Int64 = 30_000
        /// How long a new worker may take to become ready in a rolling restart.
        var replacementMS: Int64 = 30_000
        /// How long a child's event loop may stand still; 0 is no limit.
        var hangMS: Int64 = 10_000
    }

    private struct Child {
        let id: ChildID
        let startedMS: Int64
        var isReady = false
        /// The last heartbeat; `nil` before the first.
        var beatMS: Int64?
        /// When the child is killed if it has not ended by then; `nil` while it need not end.
        var killAtMS: Int64?

        /// When the child counts as hanging, unless a heartbeat comes before (``Settings/hangMS``,
        /// ``longestStartMS``).
        func silentAtMS(_ hangMS: Int64) -> Int64? {
            guard hangMS > 0, self.killAtMS == nil else { return nil }
            if let beatMS = self.beatMS { return beatMS + hangMS }
            return self.startedMS + max(hangMS, Supervision.longestStartMS)
        }
    }

    /// One place where a program is to run.
    private struct Slot {
        let role: Role
        var current: Child?
        /// The child that becomes ``current`` when it is ready.
        var replacement: Child?
        /// Children that were told to end and still finish their work.
        var retired: [Child] = []
        /// How many children in a row died before they had lived ``Supervision/wellMS``.
        var deaths = 0
        var startAtMS: Int64?

        /// Calls `body` with each child of the slot.
        mutating func updateChildren(_ body: (inout Child) -> Void) {
            if var child = self.current {
                body(&child)
                self.current = child
            }
            if var child = self.replacement {
                body(&child)
                self.replacement = child
            }
            for position in self.retired.indices { body(&self.retired[position]) }
        }

        var children: [Child] {
            [self.current, self.replacement].compactMap(\.self) + self.retired
        }
    }

    private enum Phase {
        case starting
        case running
        case drainingFrontend(untilMS: Int64)
        case drainingWorkers(untilMS: Int64)
        case killing
        case ended
    }

    /// After this time without a death, a child's next death counts as its first.
    static let wellMS: Int64 = 10_000
    static let longestPauseMS: Int64 = 5_000
    /// How long a child may take until its event loop turns for the first time.
    static let longestStartMS: Int64 = 60_000
    /// How long a child that hangs has between SIGTERM and SIGKILL.
    static let killAfterMS: Int64 = 2_000
    /// If this process notices a deadline later than this, it did not run itself (a suspended
    /// machine, for example), so the children are not to blame.
    static let longestAbsenceMS: Int64 = 1_000

    private let settings: Settings
    private var slots: [Slot]
    private var phase = Phase.starting
    private var lastID = 0
    private var exitCode: Int32 = 0

    init(settings: Settings) {
        self.settings = settings
        self.slots =
            [Slot(role: .frontend)]
            + (0..<settings.workers).map { Slot(role: .worker($0 + 1)) }
    }

    /// Pause before a start: 50 ms · 2ⁿ⁻¹, at most 5 s.
    ///
    /// 1st: 50 ms, 4th: 400 ms, 8th on: 5 s.
    static func pauseMS(deaths: Int) -> Int64 {
        min(50 << Int64(min(max(deaths, 1) - 1, 10)), Self.longestPauseMS)
    }

    /// When to call ``timePassed(nowMS:)``; `nil` if only another event can change anything.
    var nextDeadlineMS: Int64? {
        var deadlines = self.slots.compactMap(\.startAtMS)
        for slot in self.slots {
            if let replacement = slot.replacement {
                deadlines.append(replacement.startedMS + self.settings.replacementMS)
            }
            for child in slot.children {
                let deadline = child.killAtMS ?? child.silentAtMS(self.settings.hangMS)
                if let deadline { deadlines.append(deadline) }
            }
        }
        switch self.phase {
        case .drainingFrontend(let untilMS), .drainingWorkers(let untilMS):
            deadlines.append(untilMS)
        case .starting, .running, .killing, .ended:
            break
        }
        return deadlines.min()
    }

    // MARK: - Events

    mutating func started(nowMS: Int64) -> [Action] {
        self.slots.indices.map { self.spawn(at: $0, nowMS: nowMS) }
    }

    mutating func timePassed(nowMS: Int64) -> [Action] {
        self.excuseAbsence(nowMS: nowMS)
        var actions: [Action] = []
        for index in self.slots.indices {
            if let startAt = self.slots[index].startAtMS, startAt <= nowMS {
                actions.append(self.spawn(at: index, nowMS: nowMS))
            }
            if let replacement = self.slots[index].replacement,
                replacement.startedMS + self.settings.replacementMS <= nowMS
            {
                self.slots[index].replacement = nil
                self.slots[index].retired.append(replacement)
                actions.append(
                    .log("\(self.name(index)): the new one is not ready; the old one stays")
                )
                actions.append(.signal(replacement.id, .kill))
            }
            actions += self.endHung(at: index, nowMS: nowMS)
        }
        switch self.phase {
        case .drainingFrontend(let untilMS) where untilMS <= nowMS,
            .drainingWorkers(let untilMS) where untilMS <= nowMS:
            actions.append(.log("still running after its time: killed"))
            actions += self.kill()
        case .starting, .running, .drainingFrontend, .drainingWorkers, .killing, .ended:
            break
        }
        return actions
    }

    /// A child printed its `ready` line.
    mutating func readyReceived(_ id: ChildID, line: String) -> [Action] {
        guard let index = self.index(of: id) else { return [] }
        if self.slots[index].current?.id == id { self.slots[index].current?.isReady = true }
        if var replacement = self.slots[index].replacement, replacement.id == id {
            replacement.isReady = true
            self.slots[index].replacement = nil
            let old = self.slots[index].current
            self.slots[index].current = replacement
            self.slots[index].startAtMS = nil
            guard let old else { return [] }
            self.slots[index].retired.append(old)
            return [
                .log("\(self.name(index)): replaced"), .signal(old.id, .terminate),
            ]
        }
        guard self.slots[index].role == .frontend else { return [] }
        if case .starting = self.phase { self.phase = .running }
        return [.announce(line)]
    }

    /// A heartbeat came: the child's event loop runs.
    mutating func heartbeatReceived(_ id: ChildID, nowMS: Int64) {
        guard let index = self.index(of: id) else { return }
        self.slots[index].updateChildren { child in
            if child.id == id { child.beatMS = nowMS }
        }
    }

    mutating func childEnded(_ id: ChildID, _ ending: Ending, nowMS: Int64) -> [Action] {
        guard let index = self.index(of: id) else { return [] }
        if let position = self.slots[index].retired.firstIndex(where: { $0.id == id }) {
            self.slots[index].retired.remove(at: position)
            return self.afterEnding(nowMS: nowMS)
        }
        if self.slots[index].replacement?.id == id {
            self.slots[index].replacement = nil
            let reason = "the new one \(Self.words(ending)); the old one stays"
            return [.log("\(self.name(index)): \(reason)")] + self.afterEnding(nowMS: nowMS)
        }
        let startedMS = self.slots[index].current?.startedMS ?? nowMS
        self.slots[index].current = nil
        switch self.phase {
        case .starting:
            if case .exited(let code) = ending, Self.isHopeless(code) {
                self.exitCode = code
                return [.log("\(self.name(index)) \(Self.words(ending)); see above")]
                    + self.kill() + self.afterEnding(nowMS: nowMS)
            }
            return self.restart(at: index, ending, livedMS: nowMS - startedMS, nowMS: nowMS)
        case .running:
            return self.restart(at: index, ending, livedMS: nowMS - startedMS, nowMS: nowMS)
        case .drainingFrontend, .drainingWorkers, .killing, .ended:
            return self.afterEnding(nowMS: nowMS)
        }
    }

    /// SIGTERM or SIGINT: the first drains, the second kills.
    mutating func terminationRequested(nowMS: Int64) -> [Action] {
        switch self.phase {
        case .starting, .running:
            for index in self.slots.indices { self.slots[index].startAtMS = nil }
            self.phase = .drainingFrontend(untilMS: nowMS + self.settings.shutdownMS)
            return self.signalAll(.terminate) { $0 == .frontend } + self.afterEnding(nowMS: nowMS)
        case .drainingFrontend, .drainingWorkers:
            return self.kill() + self.afterEnding(nowMS: nowMS)
        case .killing, .ended:
            return []
        }
    }

    /// SIGHUP: the frontend reads its configuration again, every worker is replaced.
    mutating func reloadRequested(nowMS: Int64) -> [Action] {
        guard case .running = self.phase else { return [] }
        var actions = self.signalAll(.hangup) { $0 == .frontend }
        for index in self.slots.indices where self.slots[index].role != .frontend {
            guard self.slots[index].current != nil, self.slots[index].replacement == nil else {
                continue
            }
            self.lastID += 1
            self.slots[index].replacement = Child(id: self.lastID, startedMS: nowMS)
            actions.append(.spawn(self.lastID, self.slots[index].role))
        }
        return actions
    }

    // MARK: - Steps

    /// Whether only the operator can help: wrong usage, an address in use, wrong configuration.
    private static func isHopeless(_ code: Int32) -> Bool {
        [ExitStatus.usage, ExitStatus.unavailable, ExitStatus.configuration].contains(code)
    }

    private mutating func spawn(at index: Int, nowMS: Int64) -> Action {
        self.lastID += 1
        self.slots[index].startAtMS = nil
        self.slots[index].current = Child(id: self.lastID, startedMS: nowMS)
        return .spawn(self.lastID, self.slots[index].role)
    }

    private mutating func restart(
        at index: Int,
        _ ending: Ending,
        livedMS: Int64,
        nowMS: Int64
    ) -> [Action] {
        let deaths = livedMS >= Self.wellMS ? 1 : self.slots[index].deaths + 1
        self.slots[index].deaths = deaths
        let pause = Self.pauseMS(deaths: deaths)
        self.slots[index].startAtMS = nowMS + pause
        return [.log("\(self.name(index)) \(Self.words(ending)); started again in \(pause) ms")]
    }

    /// Ends the children of a slot whose event loop has stood still for too long.
    private mutating func endHung(at index: Int, nowMS: Int64) -> [Action] {
        let name = self.name(index)
        let hangMS = self.settings.hangMS
        var actions: [Action] = []
        self.slots[index].updateChildren { child in
            if let killAtMS = child.killAtMS, killAtMS <= nowMS {
                child.killAtMS = nowMS + Self.killAfterMS
                actions.append(.signal(child.id, .kill))
            } else if let silentAtMS = child.silentAtMS(hangMS), silentAtMS <= nowMS {
                child.killAtMS = nowMS + Self.killAfterMS
                let silentMS = nowMS - (child.beatMS ?? child.startedMS)
                actions.append(.log("\(name) hangs: no sign of life for \(silentMS) ms; ended"))
                actions.append(.signal(child.id, .terminate))
            }
        }
        return actions
    }

    /// If this process did not run for a while, does not count that time as the children's silence.
    private mutating func excuseAbsence(nowMS: Int64) {
        guard let deadlineMS = self.nextDeadlineMS,
            nowMS - deadlineMS > Self.longestAbsenceMS
        else { return }
        for index in self.slots.indices {
            self.slots[index].updateChildren { child in
                if child.beatMS != nil { child.beatMS = nowMS }
            }
        }
    }

    /// Begins the next phase when the children have ended that had to end before it.
    private mutating func afterEnding(nowMS: Int64) -> [Action] {
        switch self.phase {
        case .drainingFrontend:
            guard self.isGone({ $0 == .frontend }) else { return [] }
            self.phase = .drainingWorkers(untilMS: nowMS + self.settings.shutdownMS)
            return self.signalAll(.terminate) { $0 != .frontend } + self.afterEnding(nowMS: nowMS)
        case .drainingWorkers, .killing:
            guard self.isGone({ _ in true }) else { return [] }
            self.phase = .ended
            return [.exit(self.exitCode)]
        case .starting, .running, .ended:
            return []
        }
    }

    private mutating func kill() -> [Action] {
        self.phase = .killing
        for index in self.slots.indices { self.slots[index].startAtMS = nil }
        return self.signalAll(.kill) { _ in true }
    }

    private func signalAll(_ signal: Signal, where isMeant: (Role) -> Bool) -> [Action] {
        self.slots.filter { isMeant($0.role) }
            .flatMap { slot in
                [slot.current?.id, slot.replacement?.id].compactMap(\.self)
                    + (signal == .kill ? slot.retired.map(\.id) : [])
            }
            .map { .signal($0, signal) }
    }

    private func isGone(_ isMeant: (Role) -> Bool) -> Bool {
        self.slots.allSatisfy { slot in
            !isMeant(slot.role)
                || slot.current == nil && slot.replacement == nil && slot.retired.isEmpty
        }
    }

    private func index(of id: ChildID) -> Int? {
        self.slots.firstIndex { slot in
            slot.children.contains { $0.id == id }
        }
    }

    private func name(_ index: Int) -> String {
        switch self.slots[index].role {
        case .frontend: "frontend"
        case .worker(let number): "worker \(number)"
        }
    }

    private static func words(_ ending: Ending) -> String {
        switch ending {
        case .exited(let code): "exited with \(code)"
        case .killed(let signal): "was killed by signal \(signal)"
        case .notStarted(let reason): "could not be started (\(reason))"
        }
    }
}
