internal import Synchronization
internal import System

/// Ends a login from another thread: libldap's handshake of TLS knows no time limit.
///
/// Safe from any thread.
package final class LDAPStop: Sendable {
    private enum State {
        case waiting
        case connected(Int32)
        case stopped
    }

    private let state = Mutex(State.waiting)

    /// For one login.
    package init() {}

    /// Ends the login's connection, also one that is made later: a call that waits for it returns at once.
    package func stop() {
        self.state.withLock { state in
            if case .connected(let socket) = state { ClientSocket.shutDown(socket) }
            state = .stopped
        }
    }

    var isStopped: Bool {
        self.state.withLock { if case .stopped = $0 { true } else { false } }
    }

    /// `socket` is the login's from now on, until ``closes()``.
    func opened(_ socket: Int32) {
        self.state.withLock { state in
            switch state {
            case .waiting, .connected: state = .connected(socket)
            case .stopped: ClientSocket.shutDown(socket)
            }
        }
    }

    /// The socket will be closed, and its number may become that of another.
    func closes() {
        self.state.withLock { state in
            if case .connected = state { state = .waiting }
        }
    }
}
