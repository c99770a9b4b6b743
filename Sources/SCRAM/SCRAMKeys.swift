internal import Crypto
internal import Octets

/// What a server keeps of a password for SCRAM-SHA-256: it is enough to check a client, and not to log in.
///
/// - Note: RFC 5802 §3, RFC 7677.
package struct SCRAMKeys: Sendable, Equatable {
    /// Fewer are too weak (RFC 7677 §4); more keep a processor busy for seconds when a password is checked.
    package static let iterations = 4_096...1_000_000
    /// Octets of a digest, and so of a key.
    static let keyOctets = 32

    package let salt: [UInt8]
    package let iterations: Int
    let storedKey: [UInt8]
    let serverKey: [UInt8]

    /// The form of Dovecot behind its `{SCRAM-SHA-256}`: `iterations,salt,StoredKey,ServerKey`, all but the
    /// first in base64.
    ///
    /// - Returns: `nil` if it is not that, or the iterations are out of range.
    package init?(dovecot text: String) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count == 4, let iterations = Int(parts[0]),
            Self.iterations.contains(iterations), let salt = Base64.decode(String(parts[1])),
            !salt.isEmpty, let storedKey = Base64.decode(String(parts[2])),
            let serverKey = Base64.decode(String(parts[3])),
            storedKey.count == Self.keyOctets, serverKey.count == Self.keyOctets
        else { return nil }
        self.init(salt: salt, iterations: iterations, storedKey: storedKey, serverKey: serverKey)
    }

    private init(salt: [UInt8], iterations: Int, storedKey: [UInt8], serverKey: [UInt8]) {
        self.salt = salt
        self.iterations = iterations
        self.storedKey = storedKey
        self.serverKey = serverKey
    }

    /// The keys of `password`; takes 10 milliseconds of a processor for 4,096 iterations.
    package init(password: [UInt8], salt: [UInt8], iterations: Int) {
        let salted = Self.saltedPassword(password, salt, iterations)
        self.init(
            salt: salt,
            iterations: iterations,
            storedKey: Array(SHA256.hash(data: Self.code(of: Array("Client Key".utf8), salted))),
            serverKey: Self.code(of: Array("Server Key".utf8), salted)
        )
    }

    /// Whether these are the keys of `password`.
    ///
    /// Takes as long as the iterations say, so never on an event loop.
    package func matches(_ password: [UInt8]) -> Bool {
        let other = Self(password: password, salt: self.salt, iterations: self.iterations)
        return Self.isEqual(other.storedKey, self.storedKey)
    }

    /// Keys of no password, for a user that is not known: always the same salt for one name.
    ///
    /// What a client sees of them depends on these keys, which it does not know.
    package func standIn(for user: [UInt8]) -> Self {
        let secret = Array(SHA256.hash(data: Array("salts of unknown users".utf8) + self.serverKey))
        return Self(
            salt: Array(Self.code(of: [0] + user, secret).prefix(self.salt.count)),
            iterations: self.iterations,
            storedKey: Self.code(of: [1] + user, secret),
            serverKey: Self.code(of: [2] + user, secret)
        )
    }

    // MARK: - Computing

    /// `Hi` (RFC 5802 §2.2): PBKDF2 with one block.
    static func saltedPassword(_ password: [UInt8], _ salt: [UInt8], _ count: Int) -> [UInt8] {
        let key = SymmetricKey(data: password)
        var last = Array(HMAC<SHA256>.authenticationCode(for: salt + [0, 0, 0, 1], using: key))
        var result = last
        for _ in 1..<max(count, 2) where count > 1 {
            last = Array(HMAC<SHA256>.authenticationCode(for: last, using: key))
            for index in result.indices { result[index] ^= last[index] }
        }
        return result
    }

    /// HMAC-SHA-256 of `message` (RFC 2104).
    static func code(of message: [UInt8], _ key: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: key)))
    }

    /// In a time that does not depend on where they differ.
    static func isEqual(_ one: [UInt8], _ other: [UInt8]) -> Bool {
        guard one.count == other.count else { return false }
        return zip(one, other).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}

extension SCRAMKeys: CustomStringConvertible, CustomReflectable {
    /// Nothing of them, for a log or an error.
    package var description: String { "SCRAM-SHA-256 keys" }

    package var customMirror: Mirror { Mirror(self, children: []) }
}
