import Configuration
import System

/// The sockets of the listeners, bound while the frontend is root, by the names of the listeners.
///
/// They do not listen yet: that begins when enough workers are ready, and needs no right of root's.
enum BoundSockets {
    /// Binds the address of each listener that systemd did not bind.
    ///
    /// Unix sockets are left out: the user makes them.
    ///
    /// - Throws: ``SystemError`` that names the address.
    static func bind(
        _ listeners: [FrontendConfiguration.Listener],
        except passed: [Systemd.PassedSocket]
    ) throws(SystemError) -> [String: CInt] {
        var sockets: [String: CInt] = [:]
        for listener in listeners
        where listener.address.path == nil
            && !passed.contains(where: { $0.name == listener.name })
        {
            let (host, port) = ("\(listener.address.host)", listener.address.port)
            sockets[listener.name] = try TCPSocket.bound(host: host, port: port)
        }
        return sockets
    }
}
