import Glibc
import NIOCore

/// The process at the other end of a Unix socket (SO_PEERCRED).
struct PeerCredentials: Equatable {
    let processID: Int32
    let userID: UInt32

    static let unknown = PeerCredentials(processID: 0, userID: .max)
}

extension PeerCredentials {
    /// Asks the kernel which process is at the other end of `channel`, a Unix socket.
    static func of(_ channel: any Channel) -> EventLoopFuture<PeerCredentials> {
        guard let provider = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(.unknown)
        }
        let option: EventLoopFuture<SocketCredentials> = provider.unsafeGetSocketOption(
            level: .socket,
            name: NIOBSDSocket.Option(rawValue: SO_PEERCRED)
        )
        return option.map { PeerCredentials(processID: $0.process, userID: $0.user) }
            .flatMapErrorThrowing { _ in PeerCredentials.unknown }
    }
}

/// `struct ucred` of unix(7), which Glibc hides behind a feature macro.
private struct SocketCredentials: Sendable {
    let process: Int32
    let user: UInt32
    let group: UInt32
}
