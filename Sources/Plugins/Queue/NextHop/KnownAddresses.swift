import NIOCore
import NIOPosix
import PolicyKit

/// Answers NIO's question for the addresses of a host that were looked up before.
struct KnownAddresses: Resolver, Sendable {
    private let addresses: [SocketAddress]
    private let loop: any EventLoop

    init(_ addresses: [IPAddress], _ port: Int, _ loop: any EventLoop) {
        // What is an address is one for the library too.
        self.addresses = addresses.compactMap { try? SocketAddress(ipAddress: "\($0)", port: port) }
        self.loop = loop
    }

    func initiateAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        self.loop.makeSucceededFuture(self.addresses.filter { $0.protocol == .inet })
    }

    func initiateAAAAQuery(host: String, port: Int) -> EventLoopFuture<[SocketAddress]> {
        self.loop.makeSucceededFuture(self.addresses.filter { $0.protocol == .inet6 })
    }

    func cancelQueries() {}
}
