/// `HOST`, `HOST:PORT`, `V6` or `[V6]:PORT`.
enum HostAndPort {
    /// Reads a host name or an address with a port.
    ///
    /// - Returns: `nil` if the host is empty or has an octet that no host has, or if the port is
    ///   not from 1 to 65535.
    static func read(_ text: String, defaultPort: Int) -> (host: String, port: Int)? {
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
        guard !port.isEmpty else { return (String(host), defaultPort) }
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
