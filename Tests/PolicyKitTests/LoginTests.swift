import PolicyKitTesting
import Testing

@testable import PolicyKit

/// Lets in who knows the password, and shows what it saw.
private struct Door: AuthHook, MailHook {
    static let name = "door"

    init(configuration: PluginConfiguration) {}

    func auth(_ event: AuthEvent) async throws -> Answer {
        switch event.user {
        case "nobody": .declined
        case "busy": .denysoft
        case "echo":
            .deny("\(event.mechanism) \(event.proof) \(event.session.counters.authFailed)")
        case "steps": self.step(event)
        case "token", "scope": self.token(event)
        case "guessed": event.recentFailures == LoginFailures(address: 3, user: 7) ? .denysoft : .ok
        default: event.proof.matches("tanstaaftanstaaf") ? .ok : .deny
        }
    }

    private func token(_ event: AuthEvent) -> Answer {
        if event.bearerToken == "vF9dft4qmT" { return .ok }
        return event.refuseToken(scope: event.user == "scope" ? "mail \"send\"" : nil)
    }

    /// Two challenges, with a state that shows what was before.
    private func step(_ event: AuthEvent) -> Answer {
        guard case .message(let message) = event.proof else { return .declined }
        let state = message.state ?? "-"
        guard message.step < 3 else { return .deny("\(state) \(message.octets)") }
        return event.challenge(
            Bytes("c\(message.step)"),
            state: Bytes("\(state)\(message.octets)")
        )
    }

    func mail(_ event: MailEvent) async throws -> Answer {
        let login = event.session.authentication
        return .deny("\(login?.mechanism ?? "-") \(login?.user ?? "-") \(event.session.relay)")
    }
}

struct LoginTests {
    private static let challenge: Bytes = "<1896.697170952@postoffice.reston.mci.net>"

    private func session() async throws -> TestSession {
        try await TestSession([Door.self], plugins: "door")
    }

    @Test func `a login that is let in makes a relay client, and later hooks see who it is`()
        async throws
    {
        let session = try await self.session()
        #expect(try await session.auth("tim", .password("tanstaaftanstaaf")) == .ok)
        #expect(session.relay && session.failedLogins == 0)
        #expect(session.authentication == .init(mechanism: "PLAIN", user: "tim"))
        #expect(try await session.mail(from: "a@b.example") == .deny("PLAIN tim true"))
    }

    @Test func `a login that is refused or declined counts, one that is put off does not`()
        async throws
    {
        let session = try await self.session()
        #expect(try await session.auth("tim", .password("tanstaaf")) == .deny)
        #expect(try await session.auth("nobody", .password("x")) == .declined)
        #expect(try await session.auth("busy", .password("x")) == .denysoft)
        #expect(session.failedLogins == 2 && !session.relay && session.authentication == nil)
        let seen = try await session.auth("echo", .password("x"), mechanism: "LOGIN")
        #expect(seen == .deny("LOGIN password 2"))
    }

    @Test func `a plugin sees how many logins failed before`() async throws {
        let session = try await self.session()
        #expect(try await session.auth("guessed", .password("x")) == .ok)
        session.recentFailures = LoginFailures(address: 3, user: 7)
        #expect(try await session.auth("guessed", .password("x")) == .denysoft)
    }

    @Test func `a login of several steps gets back what it left with its challenge`() async throws {
        let session = try await self.session()
        let first = LoginProof.message(LoginMessage("a"))
        #expect(try await session.auth("steps", first) == Answer(.done))
        #expect(session.challenge.map { $0 == ("c1", "-a") } == true)
        let state = session.challenge?.state
        let second = LoginProof.message(LoginMessage("", step: 2, state: state))
        #expect(try await session.auth("steps", second, mechanism: "XOAUTH2") == Answer(.done))
        #expect(session.challenge.map { $0 == ("c2", "-a") } == true && session.failedLogins == 0)
        let third = LoginProof.message(LoginMessage("b", step: 3, state: session.challenge?.state))
        #expect(try await session.auth("steps", third) == .deny("-a b"))
        #expect(session.challenge == nil && session.failedLogins == 1)
        #expect(try await session.auth("tim", first) == .deny)
    }

    /// RFC 7628 §4.1 and §4.3, and the form of XOAUTH2.
    @Test func `a token lets in, and another is refused in two steps`() async throws {
        let session = try await self.session()
        func login(
            _ user: Bytes,
            _ text: Bytes,
            _ mechanism: String,
            step: Int = 1
        ) async throws
            -> Answer
        {
            let proof = LoginProof.message(LoginMessage(text, step: step))
            return try await session.auth(user, proof, mechanism: mechanism)
        }
        for text: Bytes in [
            "n,a=token,\u{1}host=h\u{1}port=587\u{1}auth=Bearer vF9dft4qmT\u{1}\u{1}",
            "n,a=token,\u{1}auth=bearer   vF9dft4qmT\u{1}\u{1}",
        ] {
            #expect(try await login("token", text, "OAUTHBEARER") == .ok)
        }
        #expect(
            try await login("token", "user=token\u{1}auth=Bearer vF9dft4qmT\u{1}\u{1}", "XOAUTH2")
                == .ok
        )
        for (user, mechanism, challenge): (Bytes, String, Bytes) in [
            ("token", "OAUTHBEARER", #"{"status":"invalid_token","schemes":"bearer"}"#),
            (
                "scope", "OAUTHBEARER",
                #"{"status":"invalid_token","schemes":"bearer","scope":"mail \"send\""}"#
            ),
            ("token", "XOAUTH2", #"{"status":"401","schemes":"bearer"}"#),
        ] {
            for text: Bytes in [
                "n,a=token,\u{1}auth=Bearer other\u{1}\u{1}", "n,a=token,\u{1}\u{1}",
                "auth=Bearer ",
                "n,a=token,\u{1}auth=Basic vF9dft4qmT\u{1}\u{1}", "auth=Bearer vF9dft4qmT\0\u{1}",
                "n,a=token,\u{1}host=auth=Bearer vF9dft4qmT\u{1}\u{1}",
            ] {
                #expect(try await login(user, text, mechanism) == Answer(.done))
                #expect(session.challenge?.octets == challenge)
            }
            let failed = session.failedLogins
            #expect(try await login(user, "\u{1}", mechanism, step: 2) == .deny)
            #expect(session.failedLogins == failed + 1)
            let late: Bytes = "auth=Bearer vF9dft4qmT\u{1}"
            #expect(try await login(user, late, mechanism, step: 2) == .deny)
        }
        #expect(try await login("token", "auth=Bearer vF9dft4qmT\u{1}", "SCRAM-SHA-256") == .deny)
    }

    @Test func `a proof in a text shows nothing of it`() {
        let response = LoginProof.cramMD5(password: "secret", challenge: "<1@mx>")
        let message = LoginProof.message(LoginMessage("secret", state: "secret <1@mx>"))
        for proof in [LoginProof.password("secret"), response, message] {
            var dumped = ""
            dump(proof, to: &dumped)
            for text in ["\(proof)", String(reflecting: proof), dumped, "\([proof])"] {
                #expect(!text.contains("secret") && !text.contains("<1@mx>"))
            }
        }
    }

    /// The example of RFC 2195 §2.
    @Test func `a response of CRAM-MD5 is what the RFC says`() async throws {
        let digest: Bytes = "b913a602c7eda7a495b4e6e7334d3890"
        let password: Bytes = "tanstaaftanstaaf"
        let proof = LoginProof.cramMD5(password: password, challenge: Self.challenge)
        #expect(proof == .response(digest, challenge: Self.challenge))
        let session = try await self.session()
        #expect(try await session.auth("tim", proof) == .ok)
        #expect(session.authentication?.mechanism == "CRAM-MD5")
        #expect(
            try await session.auth("echo", proof).reply?.text.first?.hasPrefix("CRAM-MD5 ") == true
        )
        for other in [
            LoginProof.cramMD5(password: "tanstaaf", challenge: Self.challenge),
            .response(digest, challenge: "<1@postoffice.reston.mci.net>"),
            .response("", challenge: Self.challenge),
        ] {
            #expect(try await session.auth("tim", other) == .deny)
        }
    }

    @Test(arguments: [
        ("a", "a", true), ("", "", true), ("a", "b", false), ("a", "ab", false), ("ab", "a", false),
        ("a", "", false), ("", "a", false), ("aa", "a", false),
    ])
    func `a password matches itself and nothing else`(given: String, right: String, matches: Bool) {
        #expect(LoginProof.password(Bytes(given)).matches(Bytes(right)) == matches)
    }

    /// An example of RFC 2202 §2.
    @Test func `HMAC with MD5 is that of the RFC`() {
        func text(_ octets: [UInt8]) -> String {
            octets.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        let code = MD5.authenticationCode(
            of: Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
            key: [UInt8](repeating: 0xaa, count: 80)
        )
        #expect(text(code) == "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd")
    }
}
