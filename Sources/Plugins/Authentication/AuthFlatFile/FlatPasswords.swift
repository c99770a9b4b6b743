import Glibc
import PasswordHashes
import PolicyKit
import SASLprep
import SCRAM

/// The users of `flat_auth_pw` and what proves them.
struct FlatPasswords: Sendable {
    enum Secret: Sendable {
        case hash(PasswordHash)
        /// What SCRAM-SHA-256 needs.
        case scram(SCRAMKeys)
        /// As qpsmtpd has it.
        case clear(Bytes)

        /// Whether it is that of a password in one of these spellings; never on an event loop.
        ///
        /// - Throws: ``PasswordHash/Failure`` if that cannot be computed.
        func matches(anyOf spellings: [Bytes]) throws -> Bool {
            for password in spellings {
                let matches =
                    switch self {
                    case .hash(let hash): try hash.matches(password.octets)
                    case .scram(let keys): keys.matches(password.octets)
                    case .clear(let clear): LoginProof.password(password).matches(clear)
                    }
                if matches { return true }
            }
            return false
        }
    }

    struct Entry: Sendable {
        let secret: Secret
        /// File and line.
        let place: String
    }

    /// What the operator is told about the file; never its content.
    let warnings: [String]
    private var entries: [Entry] = []
    /// By ``name(_:)``.
    private var indices: [Bytes: Int] = [:]

    /// - Throws: The problem of the first line that is wrong.
    init(_ lines: [ControlLine]) throws {
        var clear: [ControlLine] = []
        for line in lines {
            let (user, secret) = try Self.read(line)
            if case .clear = secret { clear.append(line) }
            if let other = self.indices[user] {
                throw line.problem("this user has a line already, \(self.entries[other].place)")
            }
            self.indices[user] = self.entries.count
            self.entries.append(Entry(secret: secret, place: "\(line.file):\(line.number)"))
        }
        self.warnings = [Self.clearWarning(clear)].compactMap(\.self) + Self.openWarnings(lines)
    }

    /// A user's name as it is compared: prepared by SASLprep (RFC 4616 §2, RFC 5802 §5.1), ASCII letters in lower
    /// case.
    ///
    /// - Returns: `nil` if SASLprep prohibits it, or leaves nothing of it: no user has that name.
    static func name(_ user: Bytes) -> Bytes? {
        StringPreparation.prepared(user.octets).flatMap {
            $0.isEmpty ? nil : Bytes(octets: $0).asciiLowercased
        }
    }

    /// A password as it is compared: prepared by SASLprep, and as it came if that is something else.
    ///
    /// The programs that make hashes, and Dovecot's that makes keys, take a password as it is typed.
    ///
    /// - Returns: Nothing if SASLprep prohibits it, or leaves nothing of it.
    static func spellings(ofPassword password: Bytes) -> [Bytes] {
        guard let prepared = StringPreparation.prepared(password.octets), !prepared.isEmpty else {
            return []
        }
        return prepared == password.octets ? [password] : [Bytes(octets: prepared), password]
    }

    /// The line of a user, by its ``name(_:)``.
    func entry(of user: Bytes) -> Entry? { self.indices[user].map { self.entries[$0] } }

    /// A line to check the password of an unknown user against, so that it takes as long as that of a known
    /// one: always the same for one ``name(_:)`` and one file, in each worker.
    ///
    /// - Returns: `nil` if the file has no line.
    func standIn(for user: Bytes) -> Entry? {
        guard !self.entries.isEmpty else { return nil }
        // FNV-1a. What a client could compute of it tells nothing without the file.
        let number = user.octets.reduce(UInt64(0xcbf2_9ce4_8422_2325)) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        return self.entries[Int(number % UInt64(self.entries.count))]
    }

    /// Keys for SCRAM of a user that has none, so that a client is challenged as if it had: always the same
    /// salt for one ``name(_:)``, as long as the first user with such keys keeps them.
    ///
    /// - Returns: `nil` if no user has such keys.
    func scramStandIn(for user: Bytes) -> SCRAMKeys? {
        for entry in self.entries {
            guard case .scram(let keys) = entry.secret else { continue }
            return keys.standIn(for: user.octets)
        }
        return nil
    }

    private static func read(_ line: ControlLine) throws -> (user: Bytes, secret: Secret) {
        let parts = line.text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
            throw line.problem("must be USER:HASH, for example jo@example.com:$y$…")
        }
        guard !parts[0].contains(where: \.isWhitespace) else {
            throw line.problem("the user's name has a space: write USER:HASH without one")
        }
        guard let user = self.name(Bytes(String(parts[0]))) else {
            throw line.problem(
                "the user's name has a character that no name may have (RFC 4013 §2.3): a control "
                    + "character, or letters written from left and from right"
            )
        }
        return (user, try self.secret(String(parts[1]), line))
    }

    private static func secret(_ text: String, _ line: ControlLine) throws -> Secret {
        let scheme = "{SCRAM-SHA-256}"
        if text.hasPrefix(scheme) {
            guard let keys = SCRAMKeys(dovecot: String(text.dropFirst(scheme.count))) else {
                throw line.problem(
                    "the keys of SCRAM-SHA-256 are not whole, or their iterations are not 4,096 to "
                        + "1,000,000; write what `doveadm pw -s SCRAM-SHA-256` prints"
                )
            }
            return .scram(keys)
        }
        if text.hasPrefix("{") {
            throw line.problem(
                "{SCHEME} before a hash is not read: write the hash alone, from its first $ on"
            )
        }
        guard text.hasPrefix("$") else { return .clear(Bytes(text)) }
        do throws(PasswordHash.Unusable) {
            return .hash(try PasswordHash(text))
        } catch {
            switch error {
            case .unknown: throw line.problem("no hash that is known; \(self.remedy)")
            case .weak: throw line.problem("this kind of hash is too weak; \(self.remedy)")
            case .malformed:
                throw line.problem("the hash is not whole, or something follows it; \(self.remedy)")
            }
        }
    }

    private static let remedy =
        "write what `mkpasswd --method=yescrypt` or `openssl passwd -6` prints"

    private static func clearWarning(_ lines: [ControlLine]) -> String? {
        guard let first = lines.first else { return nil }
        let others =
            switch lines.count {
            case 1: ""
            case 2: ", and in one more line"
            default: ", and in \(lines.count - 1) more lines"
            }
        return
            "\(first.file):\(first.number): the password is in clear text\(others); \(Self.remedy), "
            + "unless the user needs CRAM-MD5"
    }

    /// Files that other users of this machine can read.
    private static func openWarnings(_ lines: [ControlLine]) -> [String] {
        Set(lines.map(\.file)).sorted().compactMap { file in
            var status = stat()
            guard stat(file, &status) == 0, status.st_mode & S_IROTH != 0 else { return nil }
            return
                "\(file): every user of this machine can read it; chmod o-r, and let the worker's "
                + "group read it"
        }
    }
}
