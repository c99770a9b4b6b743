import Glibc
import Octets
import PasswordHashes
import PolicyKit
import PolicyKitTesting
import Testing

@testable import SCRAM
@testable import StandardPlugins

struct AuthFlatFileTests {
    /// Hashes of `secret` by each method, made with libxcrypt 4.4.33.
    private static let hashes = [
        "$y$j75$wl6egCHucJT/4Yi294r7n0$4uni3HZoZaedQuRF6Rbob8d4ECCS9yuaQg/oaONJQg9",
        "$gy$j75$6NyUfXCAtcZi7p6Alf9Rw.$HgoJqDOPr7fsmM/KY2NhmqXrCurX/0ITHv8kPJei9O1",
        "$7$BU..../....dSiD1UgqeZYQp.nFKwnbE1$42vlCndrQoUjvkEDnVV9sUSyZ.Z/cs0.h/BqPl6mTUB",
        "$2b$04$ydq5iMkUa1e91OWgCZRmm.nxJ6rtDDERCaN25cMtdB0NkTt.VsIyC",
        "$2y$04$voR.rLkHdfe2hyX/q/lKHuUi5V9xl8iq7dKzEuj8R9QZDcZ9MVD7W",
        "$2a$04$CeJor.5vj5RoemOIkOtGXOJ4mkAKyX8e5AsmY0kkOp.Dy51wLIUE6",
        "$6$rounds=1000$4SS5k/P/ri4qV7KN$iDagFr6gShD7zs4moGN7Kn5K7FboI7AOPe9po0CDXj2gMb61zHe1Mosh5tKuYqNuWvwBB07j409L9wbN5N5f9.",
        "$5$rounds=1000$hymM2QtMue1kFrQj$Ml5WLVlu2S9PN/A9KkvA1UDo0NTFsDTU0i4PravqCa4",
    ]

    private func session(
        _ lines: String,
        _ plugin: String = "auth/auth_flat_file"
    ) async throws
        -> TestSession
    {
        try await TestSession([AuthFlatFile.self], plugins: plugin, files: ["flat_auth_pw": lines])
    }

    @Test(arguments: Self.hashes)
    func `each method of crypt lets in the right password and no other`(hash: String) async throws {
        let session = try await self.session("jo@example.com:\(hash)")
        #expect(try await session.auth("jo@example.com", .password("secret")) == .ok)
        #expect(try await session.auth("jo@example.com", .password("Secret")) == .deny)
        let long = Bytes(octets: [UInt8](repeating: 0x61, count: 600))
        #expect(try await session.auth("jo@example.com", .password(long)) == .deny)
        #expect(try await session.auth("jo@example.com", .password("secret\0")) == .deny)
        #expect(session.failedLogins == 3)
        let response = LoginProof.cramMD5(password: "secret", challenge: "<1@mx>")
        #expect(try await session.auth("jo@example.com", response) == .declined)
    }

    @Test func `a password in clear text is the only one that can answer CRAM-MD5`() async throws {
        let session = try await self.session("jo@example.com:open: sesame")
        #expect(try await session.auth("jo@example.com", .password("open: sesame")) == .ok)
        #expect(try await session.auth("jo@example.com", .password("open")) == .deny)
        let right = LoginProof.cramMD5(password: "open: sesame", challenge: "<1@mx>")
        #expect(try await session.auth("jo@example.com", right) == .ok)
        let wrong = LoginProof.cramMD5(password: "sesame", challenge: "<1@mx>")
        #expect(try await session.auth("jo@example.com", wrong) == .deny)
    }

    /// What `doveadm pw -s SCRAM-SHA-256 -p secret` of Dovecot 2.3.19.1 printed.
    private static let scram =
        "4096,FWrrxJnGXgfnMa+3Ymff0A==,8Xi9Gc5YbaxAAlcntEPie8ZYRKjdj4NZGGBSP3/h3bE=,"
        + "4whRNELP1ApAI2pFBC2Cm9f4dQMe0M4yRwk1PawWf7g="

    /// One login by SCRAM-SHA-256: the first message, the challenge, and the answers to both.
    private func scram(
        _ session: TestSession,
        _ user: Bytes,
        password: String,
        changed: (Bytes) -> Bytes = { $0 }
    ) async throws -> [Answer] {
        let first = Bytes("n,,n=\(user.string ?? ""),r=mine")
        var answers = [try await session.auth(user, .message(LoginMessage(first)))]
        guard let (challenge, state) = session.challenge else { return answers }
        let fields = challenge.octets.split(separator: UInt8(ascii: ","))
        let salt = Base64.decode(Array(fields[1].dropFirst(2))) ?? []
        let keys = SCRAMKeys(password: Array(password.utf8), salt: salt, iterations: 4_096)
        let without: [UInt8] = Bytes("c=biws,").octets + Array(fields[0])
        let comma = [UInt8(ascii: ",")]
        let bare = Array(first.octets[3...])
        let signed: [UInt8] = bare + comma + challenge.octets + comma + without
        let signature = SCRAMKeys.code(of: signed, keys.storedKey)
        let salted = SCRAMKeys.saltedPassword(Array(password.utf8), salt, 4_096)
        let key = SCRAMKeys.code(of: Array("Client Key".utf8), salted)
        let proof = Base64.encoded(zip(key, signature).map { $0 ^ $1 })
        let final = changed(Bytes(octets: without + Array(",p=".utf8) + proof))
        answers.append(
            try await session.auth(user, .message(LoginMessage(final, step: 2, state: state)))
        )
        guard let (_, state) = session.challenge else { return answers }
        answers.append(
            try await session.auth(user, .message(LoginMessage("", step: 3, state: state)))
        )
        return answers
    }

    @Test func `keys for SCRAM let in by SCRAM-SHA-256, and by the password itself`() async throws {
        let session = try await self.session("jo@example.com:{SCRAM-SHA-256}\(Self.scram)")
        let user: Bytes = "jo@example.com"
        let (challenged, right) = (
            Answer(.done), try await self.scram(session, user, password: "secret")
        )
        #expect(right == [challenged, challenged, .ok])
        #expect(session.authentication == .init(mechanism: "SCRAM-SHA-256", user: user))
        #expect(try await self.scram(session, user, password: "Secret") == [challenged, .deny])
        #expect(
            try await self.scram(session, user, password: "secret") { _ in "x" } == [
                challenged, .deny,
            ]
        )
        #expect(try await self.scram(session, "JO@example.com", password: "secret") == right)
        #expect(try await session.auth(user, .password("secret")) == .ok)
        #expect(try await session.auth(user, .password("Secret")) == .deny)
        let response = LoginProof.cramMD5(password: "secret", challenge: "<1@mx>")
        #expect(try await session.auth(user, response) == .declined)
    }

    @Test func `a client cannot tell by SCRAM which users there are`() async throws {
        let lines = "jo@example.com:{SCRAM-SHA-256}\(Self.scram)\nal@example.com:secret"
        var salts: [[String]] = []
        for _ in 0..<2 {
            let session = try await self.session(lines)
            var seen: [String] = []
            for user: Bytes in ["al@example.com", "no@example.com", "NO@example.com"] {
                let answers = try await self.scram(session, user, password: "secret")
                #expect(answers == [Answer(.done), .declined])
                _ = try await session.auth(user, .message(LoginMessage("n,,n=a,r=mine")))
                let text = session.challenge?.octets.string ?? ""
                seen.append(String(text.split(separator: ",")[1]))
                #expect(text.hasSuffix(",i=4096"))
            }
            salts.append(seen)
        }
        #expect(salts[0] == salts[1] && salts[0][1] == salts[0][2] && salts[0][0] != salts[0][1])
    }

    @Test func `steps that do not belong together let nobody in`() async throws {
        let session = try await self.session("jo@example.com:{SCRAM-SHA-256}\(Self.scram)")
        let user: Bytes = "jo@example.com"
        for message in [
            LoginMessage("", step: 3), LoginMessage("", step: 3, state: "n,,n=a,r=b"),
            LoginMessage("x", step: 3, state: "proved"), LoginMessage("", step: 2),
            LoginMessage("", step: 2, state: "proved"), LoginMessage("y,a", step: 1),
        ] {
            #expect(try await session.auth(user, .message(message)) == .deny)
            #expect(session.challenge == nil)
        }
        for mechanism in ["XOAUTH2", "OAUTHBEARER", "SCRAM-SHA-512"] {
            let first = LoginProof.message(LoginMessage("n,,n=a,r=b"))
            #expect(try await session.auth(user, first, mechanism: mechanism) == .declined)
        }
        let others = try await self.session("jo@example.com:secret")
        #expect(try await self.scram(others, user, password: "secret") == [.declined])
    }

    /// qpsmtpd took the name for a regular expression.
    @Test(arguments: [
        ".*", "j.@example.com", "jo@example", "o@example.com", "jo@example.com:", "jo",
        " jo@example.com", "",
        "jo@example.com\0", "jó@example.com",
    ])
    func `a name that is not the whole name is no user`(name: String) async throws {
        let session = try await self.session("jo@example.com:secret\nal@example.com:secret")
        #expect(try await session.auth(Bytes(name), .password("secret")) == .declined)
    }

    @Test(arguments: ["jo@example.com", "JO@Example.COM", "Jo@example.com"])
    func `the case of ASCII letters does not count in a name`(name: String) async throws {
        let session = try await self.session("Jo@Example.com:secret")
        #expect(try await session.auth(Bytes(name), .password("secret")) == .ok)
        #expect(session.authentication?.user == Bytes(name))
    }

    @Test(arguments: [
        ("jo@example.com", "must be USER:HASH"), ("jo@example.com:", "must be USER:HASH"),
        (":secret", "must be USER:HASH"), ("jo smith:secret", "has a space"),
        ("jo:{SSHA}DEs4zHBvjSBGRzKu", "{SCHEME}"),
        ("jo:{SCRAM-SHA-256}4096,c2FsdA==,a,b", "doveadm pw -s SCRAM-SHA-256"),
        ("jo:{SCRAM-SHA-1}4096,c2FsdA==,a,b", "{SCHEME}"), ("jo:$ecret", "no hash that is known"),
        ("jo:$1$Np1qtuRd$Ge11YyuiFriyMSv09E/6i1", "too weak"),
        ("jo:$2x$05$IiOe0q1U00vuQ5Y9s9zUg.P3E7RAwrgIviDq0N0RlSsH2JkdzcO5q", "too weak"),
        ("jo:$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA", "no hash that is known"),
        ("jo:\(Self.hashes[0].dropLast())", "not whole"), ("jo:\(Self.hashes[0])x", "not whole"),
        ("jo:\(Self.hashes[0]):1000:1000::", "not whole"), ("jo:$6$", "not whole"),
        ("AL@example.com:secret", "has a line already"),
    ])
    func `a line that is wrong keeps the worker from starting, and is not shown`(
        line: String,
        problem: String
    ) async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await self.session("# users\nal@example.com:secret\n\(line)\n")
        }
        let text = error?.description ?? ""
        #expect(text.contains("flat_auth_pw:3: ") && text.contains(problem))
        #expect(!text.contains("secret") && !text.contains("ecret") && !text.contains("Np1q"))
    }

    @Test func `without a file, or a user, nobody is let in`() async throws {
        let session = try await TestSession([AuthFlatFile.self], plugins: "auth/auth_flat_file")
        #expect(try await session.auth("jo", .password("secret")) == .declined)
        let empty = try await self.session("# none yet\n")
        #expect(try await empty.auth("jo", .password("secret")) == .declined)
    }

    @Test
    func `clear text and a file that others can read are warned of, by line and not by content`()
        throws
    {
        let folder = try ScratchFolder()
        try folder.write([], "open")
        try folder.write([], "closed")
        chmod("\(folder.path)/open", 0o644)
        chmod("\(folder.path)/closed", 0o640)
        func warnings(_ lines: [String], _ file: String) throws -> [String] {
            try FlatPasswords(
                lines.enumerated().map { index, text in
                    ControlLine(text: text, file: "\(folder.path)/\(file)", number: index + 7)
                }
            ).warnings
        }
        let hashed = "a:\(Self.hashes[0])"
        #expect(try warnings([hashed], "closed") == [])
        let open = try warnings([hashed], "open")
        #expect(open.count == 1 && open[0].hasPrefix("\(folder.path)/open: every user"))
        let one = try warnings([hashed, "jolanda:secret"], "closed")
        #expect(
            one.count == 1
                && one[0].hasPrefix("\(folder.path)/closed:8: the password is in clear text; ")
        )
        #expect(!one[0].contains("secret") && !one[0].contains("jolanda"))
        let three = try warnings(["x:p", hashed, "y:q", "z:r"], "open")
        #expect(
            three.count == 2 && three[0].contains(":7: ") && three[0].contains("in 2 more lines")
        )
    }

    /// Without it the time of the reply tells which users exist.
    @Test func `an unknown user's password is checked against the line of another`() throws {
        let lines = (0..<8).map { ControlLine(text: "u\($0):p\($0)", file: "f", number: $0 + 1) }
        let users = try FlatPasswords(lines)
        var places: [String: Int] = [:]
        for number in 0..<800 {
            let name = Bytes("nobody\(number)@example.com")
            let place = try #require(users.standIn(for: name)).place
            #expect(users.standIn(for: name.asciiLowercased)?.place == place)
            places[place, default: 0] += 1
        }
        #expect(places.count == 8 && places.values.allSatisfy { $0 > 50 })
    }

    @Test func `a cost that the library does not take puts the login off`() async throws {
        let tail = String(repeating: "a", count: 86)
        let session = try await self.session("jo:$6$rounds=5$salt$\(tail)")
        #expect(try await session.auth("jo", .password("secret")) == .denysoft)
        // A hash is made for an unknown user as well: it fails the same way.
        #expect(try await session.auth("al", .password("secret")) == .denysoft)
        #expect(session.failedLogins == 0)
    }

    @Test(arguments: ["at_once 0", "at_once 65", "at_once x", "reject 1"])
    func `arguments that are wrong keep the worker from starting`(arguments: String) async throws {
        await #expect(throws: PluginProblems.self) {
            try await self.session("jo:secret", "auth/auth_flat_file \(arguments)")
        }
    }
}
