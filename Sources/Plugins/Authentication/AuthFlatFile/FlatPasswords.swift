import Glibc
import PasswordHashes
import PolicyKit
import SCRAM

/// The users of `flat_auth_pw` and what proves them.
struct FlatPasswords: Sendable {
    enum Secret: Sendable {
        case hash(PasswordHash)
        /// What SCRAM-SHA-256 needs.
        case scram(SCRAMKeys)
        /// As qpsmtpd has it.
        case clear(Bytes)

        /// Whether it is that of `password`; never on an event loop.
        ///
        /// - Throws: ``PasswordHash/Failure`` if that cannot be computed.
        func matches(_ password: [UInt8]) throws -> Bool {
            switch self {
            case .hash(let hash): try hash.matches(password)
            case .scram(let keys): keys.matches(password)
            case .clear(let clear): LoginProof.password(Bytes(octets: password)).matches(clear)
            }
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
    /// By the user's name in lower case.
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

    /// The line of a user; the case of ASCII letters does not count.
    func entry(of user: Bytes) -> Entry? {
        self.indices[user.asciiLowercased].map { self.entries[$0] }
    }

    /// A line to check the password of an unknown user against, so that it takes as long as that of a known
    /// one: always the same for one name and one file, in each worker.
    ///
    /// - Returns: `nil` if the file has no line.
    func standIn(for user: Bytes) -> Entry? {
        guard !self.entries.isEmpty else { return nil }
        // FNV-1a. What a client could compute of it tells nothing without the file.
        let number = user.asciiLowercased.octets.reduce(UInt64(0xcbf2_9ce4_8422_2325)) {
            ($0 ^ UInt64($1)) &* 0x100_0000_01b3
        }
        return self.entries[Int(number % UInt64(self.entries.count))]
    }

    /// Keys for SCRAM of a user that has none, so that a client is challenged as if it had: always the same
    /// salt for one name, as long as the first user with such keys keeps them.
    ///
    /// - Returns: `nil` if no user has such keys.
    func scramStandIn(for user: Bytes) -> SCRAMKeys? {
        for entry in self.entries {
            guard case .scram(let keys) = entry.secret else { continue }
            return keys.standIn(for: user.asciiLowercased.octets)
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
        return (Bytes(String(parts[0])).asciiLowercased, try self.secret(String(parts[1]), line))
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
