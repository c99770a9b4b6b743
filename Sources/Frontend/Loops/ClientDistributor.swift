import Glibc
import NIOCore
import NIOPosix

/// Gives the clients of a listening socket to the event loops in turn.
///
/// The first loop accepts. Another loop gets a descriptor of the connection; the channel in which the
/// first loop accepted it is closed before anything was read, which leaves the connection open.
final class ClientDistributor: ChannelInboundHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel

    private let loops: LoopDirectory
    /// The place of the listener in the configuration.
    private let listener: Int
    private var turn = 0

    init(_ loops: LoopDirectory, listener: Int) {
        self.loops = loops
        self.listener = listener
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let accepting = self.loops.accepting
        self.turn &+= 1
        let index = accepting[self.turn % accepting.count]
        guard index != 0, let descriptor = self.takeDescriptor(self.unwrapInboundIn(data)) else {
            return context.fireChannelRead(data)
        }
        let listener = self.listener
        self.loops.on(index) { $0.take(descriptor, listener: listener) }
    }

    /// A descriptor of the client's connection, whose channel is closed; `nil` if there is none left,
    /// and then nothing has changed.
    private func takeDescriptor(_ client: any Channel) -> CInt? {
        let copy = try? client.pipeline.syncOperations.withUnsafeTransportIfAvailable(
            of: NIOBSDSocket.Handle.self
        ) { fcntl($0, F_DUPFD_CLOEXEC, 0) }
        guard let copy, copy >= 0 else { return nil }
        client.close(promise: nil)
        return copy
    }
}

@available(*, unavailable)
extension ClientDistributor: Sendable {}
