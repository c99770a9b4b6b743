import PolicyProtocol

extension PolicyReply {
    /// A reply in words that a plugin did not write itself, fitted to what a verdict may say.
    ///
    /// For text of another server, a file or a message: whatever it holds, the verdict is valid. Octets
    /// that are no printable ASCII become `?`, a TAB becomes a space; what is too long is cut off;
    /// empty lines are left out. A status of another class than the code's, or that is none, becomes
    /// `x.0.0`; leading zeros go.
    ///
    /// - Parameters:
    ///   - code: The reply code, which the caller has chosen.
    ///   - status: An enhanced status code as the other one wrote it; `nil` for none.
    ///   - lines: The lines, raw.
    public init(code: Int, status: String?, fitting lines: some Sequence<some Sequence<UInt8>>) {
        self.init(
            code: code,
            status: status.map { Self.repaired(status: $0, replyClass: code / 100) },
            text: Self.fitted(lines)
        )
    }

    /// The first lines that are not empty, each as ``printable(_:)`` makes it.
    static func fitted(_ lines: some Sequence<some Sequence<UInt8>>) -> [String] {
        let text = lines.lazy.map { Self.printable($0) }.filter { !$0.isEmpty }
        return Array(text.prefix(PolicyVerdict.maximumReplyLines))
    }

    /// Printable ASCII, short enough for a line of a reply.
    static func printable(_ octets: some Sequence<UInt8>) -> String {
        let ascii = octets.prefix(PolicyVerdict.maximumReplyLineOctets).map { octet in
            switch octet {
            case 0x20...0x7E: octet
            case 0x09: UInt8(ascii: " ")
            default: UInt8(ascii: "?")
            }
        }
        return String(decoding: ascii, as: UTF8.self)
    }

    /// The status with the class of the code and without leading zeros; `x.0.0` if it is none.
    static func repaired(status: String, replyClass: Int) -> String {
        let dot = UInt8(ascii: ".")
        let parts = status.utf8.split(separator: dot, omittingEmptySubsequences: false)
        let numbers = parts.map { part in
            (1...3).contains(part.count) && part.allSatisfy({ 0x30...0x39 ~= $0 })
                ? part.reduce(0) { $0 * 10 + Int($1 - 0x30) } : nil
        }
        guard numbers.count == 3, numbers[0] == replyClass, let subject = numbers[1],
            let detail = numbers[2]
        else { return "\(replyClass).0.0" }
        return "\(replyClass).\(subject).\(detail)"
    }
}
