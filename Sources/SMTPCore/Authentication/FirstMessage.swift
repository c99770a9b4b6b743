import Octets

/// How the first message of a mechanism of several steps names the user.
///
/// No more of the message is read than that: what it proves is policy's to say.
enum FirstMessage {
    /// `n,,n=jo,r=nonce`: the gs2 header, and the attribute `n` (RFC 5802 §7).
    case scram
    /// `n,a=jo,^A…`: the gs2 header alone (RFC 7628 §3.1).
    case oauthBearer
    /// `user=jo^Aauth=Bearer …^A^A`.
    case xoauth2

    private static let separator: UInt8 = 0x01
    private static let comma = UInt8(ascii: ",")

    /// The user that `message` names.
    ///
    /// - Throws: The reply to a message that names none, or another one to act for.
    func user(in message: [UInt8]) throws(SMTPRefusal) -> [UInt8] {
        switch self {
        case .scram:
            let parts = message.split(
                separator: Self.comma,
                maxSplits: 3,
                omittingEmptySubsequences: false
            )
            guard parts.count == 4, Self.isChannelFlag(parts[0]) else { throw Self.malformed }
            let user = try Self.name(parts[2], attribute: "n")
            // No client may act for another user.
            if !parts[1].isEmpty, try Self.name(parts[1], attribute: "a") != user {
                throw SMTPRefusal(StandardReplies.otherIdentity)
            }
            return user

        case .oauthBearer:
            let parts = message.split(
                separator: Self.comma,
                maxSplits: 2,
                omittingEmptySubsequences: false
            )
            guard parts.count == 3, Self.isChannelFlag(parts[0]), parts[2].first == Self.separator
            else { throw Self.malformed }
            return try Self.name(parts[1], attribute: "a")

        case .xoauth2:
            let prefix = Array("user=".utf8)
            guard message.starts(with: prefix),
                let end = message.firstIndex(of: Self.separator)
            else { throw Self.malformed }
            return Array(message[prefix.count..<end])
        }
    }

    private static var malformed: SMTPRefusal { SMTPRefusal(StandardReplies.badCredentials) }

    /// `n`, `y`, or `p=` and the name of a channel binding.
    private static func isChannelFlag(_ part: ArraySlice<UInt8>) -> Bool {
        let flag = Array(part)
        return flag == [UInt8(ascii: "n")] || flag == [UInt8(ascii: "y")]
            || flag.count > 2 && flag.starts(with: [UInt8(ascii: "p"), .equals])
    }

    /// The value of the attribute, a saslname: `=2C` stands for a comma, `=3D` for `=`.
    ///
    /// - Note: RFC 5801 §4, RFC 5802 §5.1.
    private static func name(
        _ part: ArraySlice<UInt8>,
        attribute: Character
    ) throws(SMTPRefusal) -> [UInt8] {
        let octets = Array(part)
        guard octets.count > 2, octets[0] == attribute.asciiValue, octets[1] == .equals else {
            throw Self.malformed
        }
        var name: [UInt8] = []
        var index = 2
        while index < octets.count {
            guard octets[index] == .equals else {
                name.append(octets[index])
                index += 1
                continue
            }
            guard index + 2 < octets.count else { throw Self.malformed }
            switch (octets[index + 1], octets[index + 2]) {
            case (UInt8(ascii: "2"), UInt8(ascii: "C")): name.append(Self.comma)
            case (UInt8(ascii: "3"), UInt8(ascii: "D")): name.append(.equals)
            default: throw Self.malformed
            }
            index += 3
        }
        return name
    }
}
