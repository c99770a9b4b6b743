import Glibc
import NIOCore

/// Stops accepting for a moment when the process is out of descriptors or memory.
///
/// The connection that could not be accepted stays in the backlog and keeps the listening socket
/// readable, so that trying again at once would spin (hardening rows 28 and 29).
final class AcceptPauseHandler: ChannelInboundHandler {
    typealias InboundIn = any Channel

    /// How long nothing is accepted.
    static let pause = TimeAmount.milliseconds(100)

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let code = (error as? IOError)?.errnoCode ?? 0
        guard [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) else {
            return context.fireErrorCaught(error)
        }
        let channel = context.channel
        channel.setOption(.autoRead, value: false).assumeIsolated().whenComplete { _ in
            channel.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
                _ = channel.setOption(.autoRead, value: true)
            }
        }
    }
}

@available(*, unavailable)
extension AcceptPauseHandler: Sendable {}
