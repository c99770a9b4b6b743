internal import Crypto
internal import Octets

/// The server's part of a login by SCRAM-SHA-256 or SCRAM-SHA-256-PLUS.
///
/// Nothing is kept between the client's messages: what the second one needs of the first is the state
/// that goes with the challenge.
///
/// - Note: RFC 5802 §5, §6, §7; RFC 7677.
package struct SCRAMExchange: Sendable {
    /// Why a client is refused; for the log.
    package enum Refusal: String, Error, Sendable {
        case malformed = "a malformed message"
        case otherNonce = "a nonce of another login"
        /// The client binds to another channel than this one, or in a way that is not ours.
        case channelBinding = "another channel binding"
        /// The client believes that we offer no channel binding: the offer was changed on its way.
        case downgrade = "the offer of SCRAM-SHA-256-PLUS did not reach the client"
        case wrongProof = "wrong password"
    }

    /// Octets of our part of the nonce, before base64.
    package static let nonceOctets = 18
    private static let comma = UInt8(ascii: ",")
    private static let binding = Array("p=tls-server-end-point".utf8)

    private let isPlus: Bool
    private let endPoint: [UInt8]?

    /// - Parameters:
    ///   - isPlus: Whether the mechanism is SCRAM-SHA-256-PLUS.
    ///   - endPoint: The channel binding `tls-server-end-point` (RFC 5929 §4); `nil` where
    ///     SCRAM-SHA-256-PLUS is not offered.
    package init(isPlus: Bool, endPoint: [UInt8]?) {
        self.isPlus = isPlus
        self.endPoint = endPoint
    }

    /// Reads the client-first-message.
    ///
    /// - Parameters:
    ///   - message: Without its base64.
    ///   - keys: Those of the user that it names.
    ///   - nonce: ``nonceOctets`` random octets.
    /// - Returns: The server-first-message, and what ``final(_:state:_:)`` wants to know again.
    /// - Throws: Why the client is refused.
    package func first(
        _ message: [UInt8],
        _ keys: SCRAMKeys,
        nonce: [UInt8]
    ) throws(Refusal) -> (challenge: [UInt8], state: [UInt8]) {
        let fields = Self.fields(message)
        guard !message.contains(0), fields.count >= 4 else { throw .malformed }
        try self.checkFlag(Array(fields[0]))
        guard fields[1].isEmpty || Self.value(fields[1], of: "a") != nil,
            Self.value(fields[2], of: "n") != nil, let theirs = Self.value(fields[3], of: "r"),
            theirs.allSatisfy({ (0x21...0x7E).contains($0) }),
            fields[4...].allSatisfy(Self.isExtension)
        else { throw .malformed }
        var challenge = Array("r=".utf8) + theirs + Base64.encoded(nonce)
        challenge += Array(",s=".utf8) + Base64.encoded(keys.salt)
        challenge += Array(",i=\(keys.iterations)".utf8)
        return (challenge, message + [0] + challenge)
    }

    /// `n`, `y`, or `p=` and the name of a channel binding (RFC 5802 §6).
    private func checkFlag(_ flag: [UInt8]) throws(Refusal) {
        switch flag {
        case Array("n".utf8):
            guard !self.isPlus else { throw .channelBinding }
        case Array("y".utf8):
            guard !self.isPlus else { throw .channelBinding }
            guard self.endPoint == nil else { throw .downgrade }
        case Self.binding:
            guard self.isPlus, self.endPoint != nil else { throw .channelBinding }
        default: throw flag.starts(with: Array("p=".utf8)) ? .channelBinding : .malformed
        }
    }

    /// Reads the client-final-message.
    ///
    /// - Parameters:
    ///   - message: Without its base64.
    ///   - state: What ``first(_:_:nonce:)`` returned.
    ///   - keys: The same as there.
    /// - Returns: The server-final-message: the client knows the password.
    /// - Throws: Why the client is refused.
    package func final(
        _ message: [UInt8],
        state: [UInt8],
        _ keys: SCRAMKeys
    ) throws(Refusal) -> [UInt8] {
        guard let cut = state.firstIndex(of: 0) else { throw .malformed }
        let first = Self.fields(Array(state[..<cut]))
        let challenge = Array(state[(cut + 1)...])
        let fields = Self.fields(message)
        guard first.count >= 4, !message.contains(0), fields.count >= 3,
            let bound = Self.value(fields[0], of: "c").flatMap({ Base64.decode(Array($0)) }),
            let nonce = Self.value(fields[1], of: "r"), let last = fields.last,
            let proof = Self.value(last, of: "p").flatMap({ Base64.decode(Array($0)) }),
            proof.count == SCRAMKeys.keyOctets,
            fields[2..<(fields.count - 1)].allSatisfy(Self.isExtension)
        else { throw .malformed }
        let header = first[0] + [Self.comma] + first[1] + [Self.comma]
        guard bound == Array(header) + (self.isPlus ? self.endPoint ?? [] : []) else {
            throw .channelBinding
        }
        guard challenge.starts(with: Array("r=".utf8) + nonce + Array(",s=".utf8)) else {
            throw .otherNonce
        }
        let bare = state[..<cut].dropFirst(header.count)
        let withoutProof = message.prefix(message.count - last.count - 1)
        let signed =
            Array(bare) + [Self.comma] + challenge + [Self.comma] + Array(withoutProof)
        let signature = SCRAMKeys.code(of: signed, keys.storedKey)
        let clientKey = zip(proof, signature).map { $0 ^ $1 }
        guard SCRAMKeys.isEqual(Array(SHA256.hash(data: clientKey)), keys.storedKey) else {
            throw .wrongProof
        }
        return Array("v=".utf8) + Base64.encoded(SCRAMKeys.code(of: signed, keys.serverKey))
    }

    private static func fields(_ message: [UInt8]) -> [ArraySlice<UInt8>] {
        message.split(separator: self.comma, omittingEmptySubsequences: false)
    }

    /// The value of an attribute, at least an octet long; `nil` if the field is another.
    private static func value(
        _ field: ArraySlice<UInt8>,
        of attribute: Character
    ) -> ArraySlice<UInt8>? {
        let prefix = [attribute.asciiValue ?? 0, UInt8(ascii: "=")]
        guard field.count > 2, field.starts(with: prefix) else { return nil }
        return field.dropFirst(2)
    }

    /// An attribute that we do not know may stand behind the others, but for the mandatory `m`.
    private static func isExtension(_ field: ArraySlice<UInt8>) -> Bool {
        guard field.count > 2, let name = field.first, name != UInt8(ascii: "m") else {
            return false
        }
        let isLetter = (0x41...0x5A).contains(name) || (0x61...0x7A).contains(name)
        return isLetter && field[field.startIndex + 1] == UInt8(ascii: "=")
    }
}
