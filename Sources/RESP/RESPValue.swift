/// A value as Redis and Valkey send it (RESP2 and RESP3), as far as a client of strings and numbers tells values apart.
package enum RESPValue: Equatable, Sendable {
    /// A simple, bulk or verbatim string; also a double or a big number, as its text.
    case string([UInt8])
    /// An error: its first word is its kind, in capital letters.
    case error(String)
    /// An integer; also a boolean, as 1 or 0.
    case integer(Int64)
    /// No value.
    case null
    /// An array or a set; also a map, as keys and values in turn.
    case array([RESPValue])
    /// What the server says without being asked.
    case push([RESPValue])
}

/// The octets are no RESP, or more than a client takes.
package struct RESPError: Error, Equatable, CustomStringConvertible {
    package let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Commands, as a client sends them.
package enum RESPCommand {
    /// The octets of one command: an array of bulk strings.
    package static func octets(_ words: [[UInt8]]) -> [UInt8] {
        var octets = Array("*\(words.count)\r\n".utf8)
        for word in words {
            octets += Array("$\(word.count)\r\n".utf8)
            octets += word
            octets += [0x0D, 0x0A]
        }
        return octets
    }
}
