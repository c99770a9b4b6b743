extension FrontendConfiguration {
    /// Reads what a listener speaks, and the mode of its Unix socket.
    static func readProtocol(_ reader: TOMLReader, of listener: inout Listener) {
        listener.mailProtocol = reader.choice("protocol", default: .smtp)
        if let mode = Self.socketMode(reader) {
            listener.socketMode = mode
            if listener.address.path == nil {
                reader.report(
                    "socket_mode",
                    "has no effect on \(listener.address)",
                    remedy: "remove the line; it is for \"unix:/…\""
                )
            }
        }
        guard listener.mailProtocol == .lmtp else { return }
        if !listener.extensions.isSuperset(of: [.pipelining, .enhancedStatusCodes]) {
            reader.report(
                "extensions",
                "LMTP needs PIPELINING and ENHANCEDSTATUSCODES (RFC 2033 §5)",
                remedy: "add both"
            )
        }
        if listener.address.port == 25 {
            reader.report(
                "address",
                "LMTP must not be spoken on port 25 (RFC 2033 §5)",
                remedy: "choose another port, usually 24, or a Unix socket"
            )
        }
    }

    /// `socket_mode`; `nil` if it is not there, or is wrong and reported.
    static func socketMode(_ reader: TOMLReader) -> UInt32? {
        guard let mode = reader.string("socket_mode") else { return nil }
        if let bits = UInt32(mode, radix: 8), bits <= 0o777, bits & 0o600 == 0o600 { return bits }
        reader.report(
            "socket_mode",
            "\"\(mode)\" is not a mode that its owner can use",
            remedy: "write octal digits, as \"0660\""
        )
        return nil
    }
}
