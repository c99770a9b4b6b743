import NIOCore
import Synchronization

/// The event loops of a frontend, and what lets one of them speak to the others.
final class LoopDirectory: Sendable {
    let loops: [any EventLoop]
    private let state: Mutex<State>
    /// Succeeds once every pool that decides has `minimum_workers` on some loop.
    private let ready: EventLoopPromise<Void>

    private struct State {
        var servers: [NIOLoopBound<ServerLoop>?]
        var accepting: AcceptingLoops
    }

    /// `loops` has at least one loop; what concerns the whole frontend happens on the first.
    init(_ loops: [any EventLoop]) {
        self.loops = loops
        self.state = Mutex(
            State(
                servers: Array(repeating: nil, count: loops.count),
                accepting: AcceptingLoops(count: loops.count)
            )
        )
        self.ready = loops[0].makePromise()
    }

    /// Succeeds, on the first loop, once listeners may open.
    var whenReady: EventLoopFuture<Void> { self.ready.futureResult }

    /// A loop's server exists; called on its loop.
    func add(_ server: ServerLoop) {
        let bound = NIOLoopBound(server, eventLoop: server.loop)
        self.state.withLock { $0.servers[server.index] = bound }
    }

    /// The workers of a loop changed; called on its loop.
    ///
    /// - Parameters:
    ///   - loop: The index of the loop.
    ///   - pools: How many of the pools that decide have the workers that they need there.
    ///   - isReady: Whether all of them have `minimum_workers` there.
    func workersChanged(loop: Int, pools: Int, isReady: Bool) {
        let hasChanged = self.state.withLock {
            $0.accepting.workersChanged(loop: loop, pools: pools)
        }
        // Two changes may be told in any order, so each loop looks at what holds then.
        if hasChanged { self.onAll { $0.acceptingChanged() } }
        if isReady { self.ready.succeed() }
    }

    /// No listener will open any more.
    func giveUp() { self.ready.fail(CancellationError()) }

    /// The loops that accept clients now.
    var accepting: [Int] { self.state.withLock { $0.accepting.accepting } }

    /// The part of a limit that the loop may use now.
    func share(of index: Int) -> LoopShare {
        let accepting = self.accepting
        return LoopShare(place: accepting.firstIndex(of: index), count: accepting.count)
    }

    private var servers: [NIOLoopBound<ServerLoop>] {
        self.state.withLock { $0.servers.compactMap(\.self) }
    }

    /// Does something with each loop's server, on its loop and later.
    func onAll(_ body: @escaping @Sendable (ServerLoop) -> Void) {
        for server in self.servers { server.eventLoop.execute { body(server.value) } }
    }

    /// The same for one loop; nothing happens if it has no server.
    func on(_ index: Int, _ body: @escaping @Sendable (ServerLoop) -> Void) {
        guard let server = self.state.withLock({ $0.servers[index] }) else { return }
        server.eventLoop.execute { body(server.value) }
    }

    /// The same for all loops but one.
    func onOthers(than index: Int, _ body: @escaping @Sendable (ServerLoop) -> Void) {
        guard self.loops.count > 1 else { return }
        self.onAll { if $0.index != index { body($0) } }
    }

    /// Asks each loop's server something, on its loop; the answers come on the first loop, in the order
    /// of the loops.
    func ask<Answer: Sendable>(
        _ question: @escaping @Sendable (ServerLoop) throws -> Answer
    ) -> EventLoopFuture<[Answer]> {
        let answers = self.servers.map { server in
            server.eventLoop.submit { try question(server.value) }
        }
        return EventLoopFuture.whenAllSucceed(answers, on: self.loops[0])
    }

    /// The same, where the answer takes time.
    func askForFuture<Answer: Sendable>(
        _ question: @escaping @Sendable (ServerLoop) -> EventLoopFuture<Answer>
    ) -> EventLoopFuture<[Answer]> {
        let answers = self.servers.map { server in
            server.eventLoop.flatSubmit { question(server.value) }
        }
        return EventLoopFuture.whenAllSucceed(answers, on: self.loops[0])
    }

    /// Asks the first loop's server, where the answer takes time.
    func first<Answer: Sendable>(
        _ question: @escaping @Sendable (ServerLoop) -> EventLoopFuture<Answer>
    ) -> EventLoopFuture<Answer> {
        guard let server = self.servers.first else {
            return self.loops[0].makeFailedFuture(CancellationError())
        }
        return server.eventLoop.flatSubmit { question(server.value) }
    }
}
