import NIOCore

/// Sessions that have more to parse than one turn allows, in the order in which they go on.
///
/// NIO's event loop runs tasks until none is due, and looks at its sockets only then. So one task
/// lets one session go on, and the next task is due only a moment after it has ended: in between
/// the loop serves everything else. Confined to the event loop.
final class SessionTurns {
    private let loop: any EventLoop
    private var waiting = CircularBuffer<SMTPSessionHandler>()
    private var isScheduled = false

    /// Commands, or runs of content, that a session may handle in one turn.
    static let steps = 32
    /// How long the event loop looks after everything else between two turns, at least.
    private static let pause = TimeAmount.milliseconds(1)

    init(loop: any EventLoop) { self.loop = loop }

    /// Calls the session's ``SMTPSessionHandler/goOn()`` once, later.
    func wait(_ session: SMTPSessionHandler) {
        self.waiting.append(session)
        self.schedule()
    }

    private func schedule() {
        guard !self.isScheduled, !self.waiting.isEmpty else { return }
        self.isScheduled = true
        self.loop.assumeIsolated().scheduleTask(in: Self.pause) {
            self.waiting.popFirst()?.goOn()
            self.isScheduled = false
            self.schedule()
        }
    }
}

@available(*, unavailable)
extension SessionTurns: Sendable {}
