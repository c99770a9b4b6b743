package import PolicyKit

/// Where a server of HTTP is, as an operator writes it.
///
/// `http://HOST[:PORT][/PATH]`, `https://HOST[:PORT][/PATH]`, `unix:/SOCKET` with `:/PATH` behind it if it is
/// not `/`, and without a scheme `HOST[:PORT]` or `/SOCKET`.
package struct HTTPServerURL: Sendable, Hashable, CustomStringConvertible {
    /// Where it listens.
    package let address: ServerAddress
    /// Whether it speaks TLS.
    package let isEncrypted: Bool
    /// Path and query: `/` if none was written.
    package let path: String
    /// The field `Host`.
    package let authority: String
    /// As it was written.
    package let description: String

    /// Reads one; `nil` if it is none, or names a user.
    ///
    /// - Parameters:
    ///   - text: The forms above.
    ///   - defaultPort: Of `HOST` without a scheme.
    ///   - defaultPath: Where no path is written.
    package init?(_ text: String, defaultPort: Int = 80, defaultPath: String = "/") {
        self.description = text
        let scheme = text.lowercased()
        if scheme.hasPrefix("unix:") {
            let parts = text.dropFirst(5).split(
                separator: ":",
                maxSplits: 1,
                omittingEmptySubsequences: false
            )
            guard let socket = parts.first, socket.hasPrefix("/") else { return nil }
            guard
                let read = Self.read(
                    String(socket),
                    parts.count > 1 ? String(parts[1]) : defaultPath,
                    port: defaultPort
                )
            else { return nil }
            (self.address, self.path) = read
            self.isEncrypted = false
        } else if scheme.hasPrefix("http://") || scheme.hasPrefix("https://") {
            self.isEncrypted = scheme.hasPrefix("https")
            let rest = text.dropFirst(self.isEncrypted ? 8 : 7)
            let host = rest.prefix { $0 != "/" && $0 != "?" }
            let written = rest.dropFirst(host.count)
            guard !host.isEmpty,
                let read = Self.read(
                    String(host),
                    written.isEmpty ? defaultPath : String(written),
                    port: self.isEncrypted ? 443 : 80
                )
            else { return nil }
            (self.address, self.path) = read
        } else {
            guard let read = Self.read(text, defaultPath, port: defaultPort) else { return nil }
            (self.address, self.path) = read
            self.isEncrypted = false
        }
        switch self.address {
        case .unix: self.authority = "localhost"
        case .tcp(let host, let port):
            let name = host.contains(":") ? "[\(host)]" : host
            let isUsual = port == (self.isEncrypted ? 443 : 80)
            self.authority = isUsual ? name : "\(name):\(port)"
        }
    }

    private static func read(
        _ address: String,
        _ path: String,
        port: Int
    ) -> (ServerAddress, String)? {
        guard let address = ServerAddress(address, defaultPort: port),
            HTTPRequest("GET", path).problem == nil
        else { return nil }
        return (address, path)
    }
}

extension ArgumentType<HTTPServerURL> {
    /// Where a server of HTTP is; a host without a scheme and a port gets `defaultPort`.
    package static func httpServer(defaultPort: Int, defaultPath: String = "/") -> Self {
        Self(
            "http://HOST:PORT/PATH, https://HOST:PORT/PATH, unix:/SOCKET:/PATH, HOST:PORT or /SOCKET"
        ) {
            HTTPServerURL($0, defaultPort: defaultPort, defaultPath: defaultPath)
        }
    }
}
