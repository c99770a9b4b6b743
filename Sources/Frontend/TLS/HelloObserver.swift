import NIOCore
import TLSRecords

/// Stands between the socket and the TLS handler during the handshake, and reads ``HelloRecords``.
///
/// Changes nothing, and is removed when the handshake is done.
final class HelloObserver: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private(set) var records = HelloRecords()

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.records.clientSent(self.unwrapInboundIn(data).readableBytesView)
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        self.records.serverSent(self.unwrapOutboundIn(data).readableBytesView)
        context.write(data, promise: promise)
    }
}

@available(*, unavailable)
extension HelloObserver: Sendable {}
