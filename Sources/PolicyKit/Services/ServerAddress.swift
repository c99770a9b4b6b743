import Certificates

/// Where another server listens: a Unix socket, or a host and a port.
public enum ServerAddress: Sendable, Hashable, CustomStringConvertible {
    /// The absolute path of a Unix socket, 107 octets at most.
    case unix(path: String)
    /// A host name or an IP address without brackets, and a port.
    case tcp(host: String, port: Int)

    /// Reads `/PATH`, `HOST`, `HOST:PORT`, `V6` or `[V6]:PORT`; where no port is named, `defaultPort`.
    ///
    /// - Returns: `nil` if the path is too long for a socket, if the host is empty or has an octet
    ///   that no host name has, or if the port is not from 1 to 65535.
    public init?(_ text: String, defaultPort: Int) {
        if text.hasPrefix("/") {
            guard text.utf8.count <= Self.maximumPathOctets, !text.utf8.contains(0) else {
                return nil
            }
            self = .unix(path: text)
            return
        }
        guard let (host, port) = Self.hostAndPort(text) else { return nil }
        self = .tcp(host: host, port: port ?? defaultPort)
    }

    /// The address as ``init(_:defaultPort:)`` reads it.
    public var description: String {
        switch self {
        case .unix(let path): path
        case .tcp(let host, let port) where host.contains(":"): "[\(host)]:\(port)"
        case .tcp(let host, let port): "\(host):\(port)"
        }
    }

    /// The name that the server's certificate must have; `nil` for a socket or an IP address, which a certificate
    /// names in another way.
    public var certificateName: String? {
        guard case .tcp(let host, _) = self else { return nil }
        return ClientTLS.certificateName(of: host)
    }

    /// `sun_path` has 108 octets, the last of which is NUL.
    private static let maximumPathOctets = 107

    /// Reads all forms but the path.
    package static func hostAndPort(_ text: String) -> (host: String, port: Int?)? {
        var host = text[...]
        var port = ""[...]
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            host = text[text.index(after: text.startIndex)..<end]
            port = text[text.index(after: end)...]
            guard port.isEmpty || port.popFirst() == ":" && !port.isEmpty else { return nil }
        } else if let colon = text.firstIndex(of: ":"), colon == text.lastIndex(of: ":") {
            host = text[..<colon]
            port = text[text.index(after: colon)...]
            guard !port.isEmpty else { return nil }
        }
        guard self.isHost(host) else { return nil }
        guard !port.isEmpty else { return (String(host), nil) }
        guard let number = UInt16(port), number > 0 else { return nil }
        return (String(host), Int(number))
    }

    private static func isHost(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.count <= 255
            && text.utf8.allSatisfy { octet in
                switch octet {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x3A, 0x5F: true
                default: false
                }
            }
    }
}

extension ArgumentType<ServerAddress> {
    /// The address of another server; a host without a port gets `defaultPort`.
    public static func serverAddress(defaultPort: Int) -> Self {
        Self("a path that begins with /, or HOST:PORT") {
            ServerAddress($0, defaultPort: defaultPort)
        }
    }
}
