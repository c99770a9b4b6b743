import Glibc
import PolicyProtocol
import System

/// What a worker is tried with, one thing after the other (protocol/README.md).
final class ConformChecks {
    let frontend: TrialFrontend
    /// How many checks have run.
    private(set) var count = 0
    private let isStrict: Bool
    private var failures = 0
    private var hello: WorkerHello?

    /// How many events of the long check are sent.
    private let events: Int

    init(_ frontend: TrialFrontend, isStrict: Bool, events: Int) {
        self.frontend = frontend
        self.isStrict = isStrict
        self.events = events
    }

    /// Runs all checks and prints a line for each.
    ///
    /// - Returns: How many failed.
    func run() -> Int {
        self.check("dials, and says hello", "§2, §3") { () throws(Nonconformity) in
            self.hello = try self.frontend.ready().hello
        }
        // Without a hello there is nothing to try.
        guard let hello else { return self.failures }
        for hook in Hook.allCases where hello.hooks[hook] != nil {
            self.askOrTell(hook)
        }
        self.forms()
        self.answers()
        for line in BrokenLine.all where line.isMust || self.isStrict { self.refuses(line) }
        self.connections()
        self.signals()
        return self.failures
    }

    private func check(
        _ name: String,
        _ section: String,
        _ body: () throws(Nonconformity) -> Void
    ) {
        self.count += 1
        do throws(Nonconformity) {
            try body()
            StandardOutput.write("ok    \(name)")
        } catch {
            self.failures += 1
            StandardOutput.write("FAIL  \(name): \(error.what) (\(section))")
            // The next check begins with a new connection.
            self.frontend.drop()
        }
    }

    /// The hooks that the worker is asked at, in order.
    private var asked: [Hook] {
        Hook.allCases.filter { hook in
            guard let request = self.hello?.hooks[hook] else { return false }
            return !request.isObserver && !SampleEvents.told.contains(hook)
        }
    }

    private func needs(_ hook: Hook) -> Needs { self.hello?.hooks[hook]?.needs ?? [] }

    private func event(
        _ hook: Hook,
        _ link: WorkerLink,
        deadlineMS: Int64 = 20_000
    ) -> (
        id: Int64, line: [UInt8]
    ) {
        let id = link.nextID()
        let line = self.frontend.samples.event(
            hook,
            id: id,
            needs: self.needs(hook),
            deadlineMS: deadlineMS
        )
        return (id, line)
    }

    /// Sends an event of each hook, all in one piece.
    ///
    /// - Returns: The hooks by the events' ids.
    private func send(
        _ hooks: some Sequence<Hook>,
        _ link: WorkerLink
    ) throws(Nonconformity) -> [Int64: Hook] {
        var sent: [Int64: Hook] = [:]
        var octets: [UInt8] = []
        for hook in hooks {
            let (id, line) = self.event(hook, link)
            sent[id] = hook
            octets += line
        }
        try link.send(octets)
        return sent
    }

    // MARK: - Answers

    /// Waits for the one answer to each event, and checks each.
    ///
    /// - Parameters:
    ///   - hooks: By the event's id.
    ///   - link: The connection.
    /// - Throws: What is wrong with an answer, or that one did not come.
    private func takeAnswers(
        _ hooks: [Int64: Hook],
        _ link: WorkerLink
    ) throws(Nonconformity) {
        var open = hooks
        while let waiting = open.keys.min() {
            let message = try link.message(
                within: 10_000,
                for: "the answer to event \(waiting)"
            )
            guard let id = try self.answered(message, hooks) else { continue }
            guard open.removeValue(forKey: id) != nil else {
                throw Nonconformity(what: "it answered event \(id) twice")
            }
        }
    }

    /// - Returns: The id of the event that `message` answers; `nil` if it is no answer.
    private func answered(
        _ message: WorkerMessage,
        _ hooks: [Int64: Hook]
    ) throws(Nonconformity) -> Int64? {
        switch message {
        case .verdict(let id, let result):
            guard let hook = hooks[id] else {
                throw Nonconformity(what: "it answered event \(id), which it was not sent")
            }
            switch result {
            case .failure(let violation):
                throw Nonconformity(
                    what: "its verdict at \(hook.rawValue) is invalid: \(violation)"
                )
            case .success(let verdict):
                guard verdict.hook == nil || verdict.hook == hook else {
                    throw Nonconformity(
                        what:
                            "its verdict is about \(verdict.hook?.rawValue ?? ""), which was not ahead"
                    )
                }
                let violation = verdict.violation(
                    for: hook,
                    hasTransaction: SampleEvents.hasTransaction(hook),
                    allowsUTF8: false
                )
                if let violation {
                    throw Nonconformity(
                        what: "its verdict at \(hook.rawValue) is invalid: \(violation)"
                    )
                }
            }
            return id
        case .error(let id, _, _, _, _):
            guard hooks[id] != nil else {
                throw Nonconformity(what: "it answered event \(id), which it was not sent")
            }
            return id
        case .progress, .pong: return nil
        case .hello: throw Nonconformity(what: "it said hello twice")
        case .drain: throw Nonconformity(what: "it drains, and nothing told it to stop")
        case .bye(let code, let text):
            throw Nonconformity(
                what: "it said bye (\(code): \(text)), where nothing asked for that"
            )
        case .ping: return nil
        }
    }

    /// Asks the worker for a pong: what it wrote before was all that it had to say.
    private func sync(_ link: WorkerLink) throws(Nonconformity) {
        try link.send { FrontendLine.ping(4_711, into: &$0) }
        switch try link.message(within: 5_000, for: "the pong to a ping") {
        case .pong: break
        case .verdict(let id, _):
            throw Nonconformity(what: "it answered event \(id) once more, or a notification")
        case .error(let id, _, let code, _, _):
            throw Nonconformity(what: "it sent error \(code) for \(id), which waited for no answer")
        default: throw Nonconformity(what: "it sent something else than the pong to a ping")
        }
    }

    // MARK: - Hooks

    private func askOrTell(_ hook: Hook) {
        let request = self.hello?.hooks[hook]
        let isTold = request?.isObserver ?? false || SampleEvents.told.contains(hook)
        self.check(
            isTold
                ? "\(hook.rawValue): is told, and says nothing" : "\(hook.rawValue): answers once",
            isTold ? "§7" : "§4, verdicts.md"
        ) { () throws(Nonconformity) in
            let link = try self.frontend.ready()
            guard !isTold else {
                try link.send(self.frontend.samples.notification(hook, needs: self.needs(hook)))
                return try self.sync(link)
            }
            let (id, line) = self.event(hook, link)
            try link.send(line)
            try self.takeAnswers([id: hook], link)
            try self.sync(link)
        }
    }

    // MARK: - Forms of lines

    private func forms() {
        guard let hook = self.asked.first else { return }
        self.check("reads other spellings, and members that it does not know", "§1, §10") {
            () throws(Nonconformity) in
            let link = try self.frontend.ready()
            for hook in self.asked {
                let id = link.nextID()
                try link.send(
                    self.frontend.samples.respelled(hook, id: id, needs: self.needs(hook))
                )
                try self.takeAnswers([id: hook], link)
            }
        }
        self.check("reads a line that comes octet by octet", "§1") { () throws(Nonconformity) in
            let link = try self.frontend.ready()
            let (id, line) = self.event(hook, link)
            for octet in line { try link.send([octet]) }
            try self.takeAnswers([id: hook], link)
        }
        self.check("reads several lines that come at once", "§1") { () throws(Nonconformity) in
            let link = try self.frontend.ready()
            let count = max(1, min(self.hello?.concurrency ?? 1, 50))
            let hooks = try self.send(repeatElement(hook, count: count), link)
            try self.takeAnswers(hooks, link)
            try self.sync(link)
        }
        let most = self.hello?.maximumFrameOctets ?? 65_536
        self.check("reads a line as long as its max_frame, \(most)", "§1") {
            () throws(Nonconformity) in
            let link = try self.frontend.ready()
            let id = link.nextID()
            let line = self.padded(hook, id, to: most)
            try link.send(line)
            try self.takeAnswers([id: hook], link)
        }
        guard self.isStrict else { return }
        self.check("refuses a longer line: bye frame_too_long", "§1") { () throws(Nonconformity) in
            let link = try self.frontend.ready()
            try self.expectBye(
                "frame_too_long",
                link,
                self.padded(hook, link.nextID(), to: most + 1)
            )
        }
    }

    /// An event that has exactly so many octets, its LF included.
    private func padded(_ hook: Hook, _ id: Int64, to octets: Int) -> [UInt8] {
        let samples = self.frontend.samples
        let empty = samples.event(hook, id: id, needs: self.needs(hook), more: #""fill":"","#)
        let fill = String(repeating: "x", count: max(0, octets - empty.count))
        return samples.event(hook, id: id, needs: self.needs(hook), more: #""fill":"\#(fill)","#)
    }

    private func expectBye(
        _ code: String,
        _ link: WorkerLink,
        _ octets: [UInt8]
    ) throws(Nonconformity) {
        // A worker that has seen enough closes before it has read all.
        try? link.send(octets)
        let said = try link.end()
        self.frontend.drop()
        guard said == code else {
            throw Nonconformity(
                what: said.map { "it said bye \($0), not \(code)" }
                    ?? "it closed without bye \(code)"
            )
        }
        _ = try self.frontend.ready()
    }

    private func refuses(_ line: BrokenLine) {
        self.check("refuses \(line.name): bye \(line.code)", "§1") { () throws(Nonconformity) in
            try self.expectBye(line.code, try self.frontend.ready(), line.octets)
        }
    }

    // MARK: - Questions and answers

    private func answers() {
        guard let hook = self.asked.first else { return }
        let concurrency = max(1, self.hello?.concurrency ?? 1)
        self.check("answers an event that was cancelled once", "§4") { () throws(Nonconformity) in
            let link = try self.frontend.ready()
            let (id, line) = self.event(hook, link)
            try link.send(line)
            try link.send { FrontendLine.cancel(id: id, reason: "client_gone", into: &$0) }
            try self.takeAnswers([id: hook], link)
            // Of an event that is over, or never was.
            try link.send { FrontendLine.cancel(id: id, reason: "deadline", into: &$0) }
            try link.send { FrontendLine.cancel(id: id + 1_000, reason: "deadline", into: &$0) }
            try self.sync(link)
        }
        self.check("answers an event whose time is nearly over once", "§8") {
            () throws(Nonconformity) in
            let link = try self.frontend.ready()
            for deadline: Int64 in [0, 1] {
                let (id, line) = self.event(hook, link, deadlineMS: deadline)
                try link.send(line)
                try self.takeAnswers([id: hook], link)
            }
            try self.sync(link)
        }
        if let other = Hook.allCases.first(where: {
            self.hello?.hooks[$0] == nil && !SampleEvents.told.contains($0)
        }) {
            self.check("hands back an event of a hook that it did not name", "§4") {
                () throws(Nonconformity) in
                let link = try self.frontend.ready()
                let (id, line) = self.event(other, link)
                try link.send(line)
                guard
                    case .error(id, let started, _, _, _) = try link.message(
                        for: "an error for event \(id)"
                    )
                else {
                    throw Nonconformity(
                        what: "it answered \(other.rawValue) otherwise than by error"
                    )
                }
                guard !started else {
                    throw Nonconformity(what: "its error has no \"started\": false")
                }
            }
        }
        self.check("answers an event that it cannot read by error", "§4, bad_event") {
            () throws(Nonconformity) in
            let link = try self.frontend.ready()
            let id = link.nextID()
            try link.send(
                Array(
                    #"{"type":"event","id":\#(id),"key":"k","hook":"\#(hook.rawValue)","attempt":1}"#
                        .utf8
                ) + [0x0A]
            )
            guard case .error(id, _, _, _, _) = try link.message(for: "an error for event \(id)")
            else { throw Nonconformity(what: "it answered otherwise than by error") }
            try self.sync(link)
        }
        self.check("answers each of more events than its concurrency once", "§6, overloaded") {
            () throws(Nonconformity) in
            let link = try self.frontend.ready()
            let count = min(concurrency, 100) + 3
            let hooks = try self.send(repeatElement(hook, count: count), link)
            try self.takeAnswers(hooks, link)
            try self.sync(link)
        }
        self.check("answers \(self.events) events", "§6") { () throws(Nonconformity) in
            try self.askMany(concurrency)
        }
        guard self.hello?.wantsViolations ?? false else { return }
        self.check("is told of an invalid verdict, and says nothing", "§4, violation") {
            () throws(Nonconformity) in
            let link = try self.frontend.ready()
            try link.send {
                FrontendLine.violation(
                    ProtocolViolation(
                        .reply_text,
                        "reply.text[0]: gatepost conform tries this message"
                    ),
                    id: 1,
                    hook: hook,
                    plugin: nil,
                    into: &$0
                )
            }
            try self.sync(link)
        }
    }

    /// Keeps as many events with the worker as it takes, up to 64, until all are answered.
    private func askMany(_ concurrency: Int) throws(Nonconformity) {
        let link = try self.frontend.ready()
        var hooks: [Int64: Hook] = [:]
        var answered: Set<Int64> = []
        var sent = 0
        while answered.count < self.events {
            var octets: [UInt8] = []
            while sent < self.events, sent - answered.count < min(concurrency, 64) {
                let hook = self.asked[sent % self.asked.count]
                let (id, line) = self.event(hook, link)
                hooks[id] = hook
                octets += line
                sent += 1
            }
            if !octets.isEmpty { try link.send(octets) }
            let message = try link.message(
                within: 10_000,
                for: "an answer, with \(answered.count) of \(sent) events answered"
            )
            guard let id = try self.answered(message, hooks) else { continue }
            guard answered.insert(id).inserted else {
                throw Nonconformity(what: "it answered event \(id) twice")
            }
        }
        try self.sync(link)
    }

    // MARK: - Connections

    private func connections() {
        self.check("dials again after the frontend has gone", "§2") { () throws(Nonconformity) in
            _ = try self.frontend.ready()
            self.frontend.drop()
            _ = try self.frontend.ready()
        }
        self.check("finds the socket of a frontend that starts again", "§2") {
            () throws(Nonconformity) in
            _ = try self.frontend.ready()
            do throws(SystemError) {
                try self.frontend.listen()
            } catch {
                throw Nonconformity(what: "the socket cannot be made: \(error)")
            }
            self.frontend.drop()
            _ = try self.frontend.ready()
        }
        self.check("waits for retry_ms after a reject", "§3") { () throws(Nonconformity) in
            self.frontend.drop()
            let link = try self.frontend.accept()
            _ = try link.readHello(pool: self.frontend.pool)
            let start = ContinuousClock.now
            try link.send {
                FrontendLine.reject(.pool_full, message: "a test", retryMS: 1_500, into: &$0)
            }
            try link.end()
            _ = try self.frontend.ready()
            guard ContinuousClock.now - start >= .milliseconds(1_450) else {
                throw Nonconformity(what: "it dialled again sooner")
            }
        }
        self.check("leaves a frontend that says no welcome: bye timeout", "§9") {
            () throws(Nonconformity) in
            self.frontend.drop()
            let link = try self.frontend.accept()
            _ = try link.readHello(pool: self.frontend.pool)
            let said = try link.end(within: 10_000)
            guard said == "timeout" else {
                throw Nonconformity(what: "it said \(said ?? "no bye"), not bye timeout")
            }
            _ = try self.frontend.ready()
        }
        self.check("drains when the frontend asks for it, and dials again", "§9") {
            () throws(Nonconformity) in
            let link = try self.frontend.ready()
            let hooks = try self.send(self.asked.prefix(1), link)
            try link.send { FrontendLine.drain(.shutdown, into: &$0) }
            try self.takeEnd(link, hooks, drainIsOurs: true)
            self.frontend.drop()
            _ = try self.frontend.ready()
        }
    }

    /// Waits for a worker's drain, its answers and its bye, in the order that protocol/README.md §9 allows.
    private func takeEnd(
        _ link: WorkerLink,
        _ hooks: [Int64: Hook],
        drainIsOurs: Bool
    ) throws(Nonconformity) {
        var open = Set(hooks.keys)
        var hasDrained = false
        while true {
            let message = try link.message(within: 10_000, for: "drain, answers and bye")
            switch message {
            case .drain(let reason):
                guard !hasDrained else { throw Nonconformity(what: "it sent drain twice") }
                hasDrained = true
                if drainIsOurs {
                    guard reason == "shutdown" else {
                        throw Nonconformity(what: "its drain does not repeat the reason")
                    }
                } else {
                    try link.send { FrontendLine.drain(.requested, into: &$0) }
                }
            case .bye(let code, _):
                guard hasDrained else { throw Nonconformity(what: "it said bye before drain") }
                guard open.isEmpty else {
                    throw Nonconformity(what: "it said bye before it had answered all events")
                }
                guard code == "drained" else {
                    throw Nonconformity(what: "it said bye \(code), not drained")
                }
                try link.end()
                return
            default:
                guard let id = try self.answered(message, hooks) else { continue }
                guard open.remove(id) != nil else {
                    throw Nonconformity(what: "it answered event \(id) twice")
                }
            }
        }
    }

    // MARK: - Signals

    private func signals() {
        self.check("SIGTERM: drains, answers, says bye, and ends with 0", "§9") {
            () throws(Nonconformity) in
            let link = try self.frontend.ready()
            let hooks = try self.send(self.asked.prefix(1), link)
            self.frontend.worker?.terminate()
            try self.takeEnd(link, hooks, drainIsOurs: false)
            self.frontend.drop()
            try self.expectExit()
        }
        self.check("SIGTERM before the welcome: ends", "§9") { () throws(Nonconformity) in
            self.frontend.drop()
            try self.frontend.start()
            let link = try self.frontend.accept()
            _ = try link.readHello(pool: self.frontend.pool)
            self.frontend.worker?.terminate()
            try link.end(within: 10_000)
            try self.expectExit()
        }
    }

    private func expectExit() throws(Nonconformity) {
        guard let worker = self.frontend.worker, worker.ends(within: 10_000) else {
            throw Nonconformity(what: "its process still runs after 10 s")
        }
        if let ending = self.frontend.reap(), ending != .exited(0) {
            throw Nonconformity(what: "\(ending)")
        }
    }
}
