import JSON
import NIOCore
import PolicyCore
import PolicyProtocol
import PoolCore

/// One worker's connection: lines in, lines out, everything else is the pool's.
///
/// Confined to its event loop. What is written in one turn of the loop goes out with one write.
final class WorkerConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Lines that are sent without waiting for the end of the turn, in octets: about eight events.
    static let promptOctets = 8_192
    /// From so many octets on that wait for the worker to read, it is sent no events or notifications.
    static let mostWaitingOctets = 1_048_576
    /// When no more than so many wait, it is sent them again.
    static let fewWaitingOctets = 262_144

    let id: WorkerID
    /// The worker's process, as the kernel says.
    var peer = PeerCredentials.unknown
    /// What it said of itself; `nil` before it did.
    var hello: WorkerHello? { didSet { self.helloChanged() } }
    /// Whether it did: looked at with each line, where the hello itself would be copied.
    private(set) var isGreeted = false
    /// Whether it holds a message until its time, as it said.
    private(set) var keepsFutureRelease = false
    /// The name for logs: what it calls itself, and which connection.
    private(set) var label: WorkerLabel
    /// What it is to be sent of an event, by the hook's index.
    private var addressees: [EventAddressee] = []
    /// Lines that wait for the end of this turn.
    var output = JSONWriter()
    var isDirty = false
    /// Notifications that it did not get because it was slow.
    var droppedNotifications: UInt64 = 0
    /// Something came since the pool last looked.
    var hasSpoken = false
    /// Its socket takes no more for now.
    private(set) var isBlocked = false
    /// A `drain` is sent once, as the question or as the answer.
    var hasSaidDrain = false
    private(set) var isClosed = false

    private unowned let pool: WorkerPool
    private var decoder: FrameDecoder
    private var context: ChannelHandlerContext?
    private var arrivals = ArrivalQueue<ByteBuffer>()

    init(id: WorkerID, pool: WorkerPool, maximumFrameOctets: Int) {
        self.id = id
        self.pool = pool
        self.decoder = FrameDecoder(maximumFrameOctets: maximumFrameOctets)
        self.label = WorkerLabel(name: "", connection: id)
    }

    private func helloChanged() {
        self.isGreeted = self.hello != nil
        self.keepsFutureRelease = self.hello?.extensions.contains(.futureRelease) ?? false
        self.label = WorkerLabel(name: self.hello?.name ?? "", connection: self.id)
        self.addressees = Hook.allCases.map { hook in
            EventAddressee(
                needs: self.hello?.hooks[hook]?.needs ?? [],
                maximumFrameOctets: self.hello?.maximumFrameOctets ?? 65_536,
                isAsked: true
            )
        }
    }

    /// What this worker is to be sent of an event at `hook`.
    func addressee(for hook: Hook) -> EventAddressee {
        let index = Int(hook.index)
        guard index < self.addressees.count else {
            return EventAddressee(needs: [], maximumFrameOctets: 65_536)
        }
        return self.addressees[index]
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func channelActive(context: ChannelHandlerContext) {
        PeerCredentials.of(context.channel).assumeIsolated().whenSuccess {
            self.pool.connected(self, credentials: $0)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.hasSpoken = true
        guard let first = self.arrivals.arrived(self.unwrapInboundIn(data)) else { return }
        self.receive(first)
        while let next = self.arrivals.next() { self.receive(next) }
        if self.arrivals.hasEnded { self.ended() }
    }

    private func receive(_ octets: ByteBuffer) {
        guard !self.isClosed else { return }
        do {
            try octets.withUnsafeReadableBytes { bytes throws(FrameTooLong) in
                try self.decoder.receive(bytes) { line in
                    self.pool.received(line, from: self)
                    return !self.isClosed
                }
            }
        } catch {
            self.pool.broke(self, ProtocolViolation(.frame_too_long))
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.isBlocked = !context.channel.isWritable
        self.pool.writabilityChanged(self, isWritable: !self.isBlocked)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.context = nil
        if self.arrivals.ended() { self.ended() }
    }

    private func ended() {
        self.isClosed = true
        self.pool.disconnected(self)
    }

    /// Sends what was written in this turn.
    func flush() {
        self.isDirty = false
        guard let context = self.context, !self.output.octets.isEmpty else { return }
        var buffer = context.channel.allocator.buffer(capacity: self.output.octets.count)
        buffer.writeBytes(self.output.octets)
        self.output.removeAll()
        context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
        if self.isBlocked, !self.isClosed, self.isTooMuchWaiting(context.channel) {
            self.pool.closeSlowReader(self)
        }
    }

    /// Whether more waits than events and notifications can be the cause of.
    ///
    /// Each of these is begun only while the socket takes more, so at most one line goes beyond. What
    /// else is written answers what the worker itself says without reading, and has no end.
    private func isTooMuchWaiting(_ channel: any Channel) -> Bool {
        let line = max(self.hello?.maximumFrameOctets ?? 0, Self.mostWaitingOctets)
        let waiting = try? channel.syncOptions?.getOption(.bufferedWritableBytes)
        return (waiting ?? 0) > Self.mostWaitingOctets + line + Self.promptOctets
    }

    /// Sends what was written, then closes; nothing that arrives counts any more.
    func close() {
        guard !self.isClosed else { return }
        self.isClosed = true
        self.flush()
        self.context?.close(promise: nil)
    }
}

@available(*, unavailable)
extension WorkerConnectionHandler: Sendable {}
