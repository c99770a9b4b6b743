import NIOCore
import RESP

/// A call of a server: its octets, and what waits for the reply.
struct RedisCall: Sendable {
    let request: ByteBuffer
    let reply: PendingCall<RESPValue>
}

/// One connection: first the handshake, then replies in the order of calls.
///
/// Confined to the event loop.
final class RedisConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let channel: any Channel
    private let link: RedisLink
    private var reader = RESPReader()
    /// `nil` once it is over.
    private var handshake: RedisHandshake?
    /// Calls whose reply has not come, also those whose caller waits no more.
    private var sent = CircularBuffer<(reply: PendingCall<RESPValue>, time: NIODeadline)>()
    private var timer: Scheduled<Void>?
    private var isOver = false

    init(_ channel: any Channel, of link: RedisLink, _ handshake: RedisHandshake) {
        self.channel = channel
        self.link = link
        self.handshake = handshake
    }

    /// Begins with the handshake, which must be over in time.
    func start(within time: TimeAmount) {
        self.timer = self.channel.eventLoop.assumeIsolated().scheduleTask(in: time) {
            self.end("no answer to the greeting within \(time.nanoseconds / 1_000_000) ms")
        }
        guard let step = self.handshake?.start() else { return }
        self.take(step)
    }

    /// How many replies have not come.
    var missingReplies: Int { self.sent.count }

    /// Whether the server owes a reply for longer than this, which no caller may have waited for.
    func isStuck(after time: TimeAmount) -> Bool {
        self.sent.first.map { $0.time + time < .now() } ?? false
    }

    func send(_ call: RedisCall) {
        self.sent.append((call.reply, .now()))
        self.channel.writeAndFlush(call.request, promise: nil)
    }

    /// Whether the reply to this call has not come.
    func owes(_ reply: PendingCall<RESPValue>) -> Bool { self.sent.contains { $0.reply === reply } }

    /// Ends the connection, and with it the calls that it owes.
    func end(_ reason: String) {
        guard !self.isOver else { return }
        self.isOver = true
        self.timer?.cancel()
        self.channel.close(promise: nil)
        let (calls, wasReady) = (self.sent, self.handshake == nil)
        self.sent = []
        self.link.ended(self, reason, wasReady: wasReady)
        for call in calls { call.reply.end(.failure(self.link.error(reason))) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.reader.append(self.unwrapInboundIn(data).readableBytesView)
        do throws(RESPError) {
            while !self.isOver, let value = try self.reader.next() { self.take(value) }
        } catch {
            self.end("what the server sends is not understood: \(error)")
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.end("the server closed the connection")
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.end("\(error)")
    }

    private func take(_ value: RESPValue) {
        // Nothing was subscribed to.
        if case .push = value { return }
        if let step = self.handshake?.received(value) { return self.take(step) }
        guard let call = self.sent.popFirst() else {
            return self.end("the server answers what was not asked")
        }
        call.reply.end(.success(value))
        // A replica now: the name of the server may mean another one.
        if case .error(let words) = value, words.hasPrefix("READONLY") { self.end(words) }
    }

    private func take(_ step: RedisHandshake.Step) {
        switch step {
        case .send(let words):
            let octets = ByteBuffer(bytes: RESPCommand.octets(words))
            self.channel.writeAndFlush(octets, promise: nil)

        case .failed(let words): self.end(words)

        case .done:
            self.timer?.cancel()
            self.handshake = nil
            self.link.isReady(self)
        }
    }
}

@available(*, unavailable)
extension RedisConnection: Sendable {}
