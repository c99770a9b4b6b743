/// What a client may say of other clients, because it connects from a network that is trusted for it.
package struct SMTPTrust: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// XCLIENT: the client is a proxy, and names the client that it speaks for.
    package static let xclient = Self(rawValue: 1 << 0)
    /// XFORWARD: the client is a mail server, and says where its next message came from.
    package static let xforward = Self(rawValue: 1 << 1)

    /// What EHLO says of it to such a client.
    var keywords: [[UInt8]] {
        var lines: [[UInt8]] = []
        if self.contains(.xclient) { lines.append(Self.keyword("XCLIENT", .xclient)) }
        if self.contains(.xforward) { lines.append(Self.keyword("XFORWARD", .xforward)) }
        return lines
    }

    private static func keyword(_ verb: String, _ command: ClientCommand) -> [UInt8] {
        Array(([verb] + command.names.map(\.rawValue)).joined(separator: " ").utf8)
    }
}
