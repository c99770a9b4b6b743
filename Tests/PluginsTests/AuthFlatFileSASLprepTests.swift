import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

/// RFC 4013: names and passwords that a person takes for the same are the same.
struct AuthFlatFileSASLprepTests {
    /// A password, the spelling that SASLprep makes of it, and a third one that becomes the same.
    private static let typed = "I\u{AD}X \u{AA} \u{FB01}ne"
    private static let prepared = "IX a fine"
    private static let third = "IX\u{A0}\u{FF41} fine"

    /// What stands in the file for it, made of the spelling that is named, and which spellings match.
    private static let secrets: [(secret: String, matches: [String])] = [
        (Self.prepared, [Self.typed, Self.prepared, Self.third]),
        (Self.typed, [Self.typed, Self.prepared, Self.third]),
        // GNU SASL 2.2.0, which prepares: `gsasl --mkpasswd --mechanism SCRAM-SHA-256 --password` of `typed`.
        (
            "{SCRAM-SHA-256}4096,augeyrYzWg7C6WC6,6BuBaMGvtBoabJ1rqD6NRshUJP4G8/Dw951UDhRhBm0=,"
                + "eqgsfrxiJskCyBoUhlISxNbLAoTxCYCJxFZp+nKp6v0=",
            [Self.typed, Self.prepared, Self.third]
        ),
        // Dovecot 2.3.19.1, which does not: `doveadm pw -s SCRAM-SHA-256 -p` of `typed`.
        (
            "{SCRAM-SHA-256}4096,lS5R/ENVh2ZFH0dv5LCJyQ==,"
                + "osTRrbWB7V55C3J4zyEE/N0ynOaQknivbY/K0XgIXaA=,"
                + "DS0NIhuAmmGTACWiXezuRJPSMYyuwuhskoOTSVOmXpg=",
            [Self.typed]
        ),
        // OpenSSL 3.0, which does not: `openssl passwd -6` of `prepared` and of `typed`.
        (
            "$6$pepper$zlibEZqHdvoeLfJohKMQWs4VgKM6jTJDdmwhopTKVbmCn7vgP4J0fBmgHfysbnoLwvsJVm01j8Jn8ge/.3sJ21",
            [Self.typed, Self.prepared, Self.third]
        ),
        (
            "$6$pepper$oXZZRXXgE/A94T16XtLatv/OwA4hPDCUX4M6X9GV4Xl8kNbyz4Nc48H/gkDuBRyq.HQ/y/cUBuI4R3wbilxFp1",
            [Self.typed]
        ),
    ]

    private func session(_ lines: String) async throws -> TestSession {
        try await TestSession(
            [AuthFlatFile.self],
            plugins: "auth/auth_flat_file",
            files: ["flat_auth_pw": lines]
        )
    }

    @Test(arguments: Self.secrets.indices)
    func `each spelling of a password matches what was made of the prepared one`(
        index: Int
    ) async throws {
        let (secret, matching) = Self.secrets[index]
        let session = try await self.session("jo:\(secret)")
        for spelling in [Self.typed, Self.prepared, Self.third, "IX a FINE"] {
            let answer = try await session.auth("jo", .password(Bytes(spelling)))
            #expect(answer == (matching.contains(spelling) ? .ok : .deny), "\(spelling)")
        }
    }

    @Test func `CRAM-MD5 matches a password as it stands in the file, and as it is prepared`()
        async throws
    {
        let session = try await self.session("jo:\(Self.typed)")
        for (spelling, answer) in [
            (Self.typed, Answer.ok), (Self.prepared, .ok), (Self.third, .deny),
        ] {
            let response = LoginProof.cramMD5(password: Bytes(spelling), challenge: "<1@mx>")
            #expect(try await session.auth("jo", response) == answer)
        }
    }

    @Test(arguments: [
        ("jo\u{AD}@example.com", "jo@example.com"), ("\u{FF4A}o@example.com", "JO@example.com"),
        ("m\u{FC}ller", "mu\u{308}ller"), ("\u{212B}ke", "\u{C5}ke"), ("\u{1F511}", "\u{1F511}"),
    ])
    func `each spelling of a name is the same user`(one: String, other: String) async throws {
        for (stored, sent) in [(one, other), (other, one), (one, one)] {
            let session = try await self.session("\(stored):secret")
            #expect(try await session.auth(Bytes(sent), .password("secret")) == .ok)
        }
        await #expect(throws: PluginProblems.self) {
            try await self.session("\(one):secret\n\(other):secret")
        }
    }

    @Test(arguments: [[0x6A, 0x6F, 0xFF], Array("jo\u{202E}".utf8), [0xC2, 0xAD], [0x6A, 0x07]])
    func `a name that is prohibited, or of which nothing is left, is no user`(
        name: [UInt8]
    ) async throws {
        let session = try await self.session("jo:secret\nal:{SCRAM-SHA-256}\(Self.keys)")
        let user = Bytes(octets: name)
        #expect(try await session.auth(user, .password("secret")) == .declined)
        let first = LoginProof.message(LoginMessage("n,,n=x,r=mine"))
        #expect(try await session.auth(user, first, mechanism: "SCRAM-SHA-256") == .declined)
    }

    @Test(arguments: ["jo\u{7}", "jo\u{202E}", "a\u{627}", "\u{AD}"])
    func `a line with such a name keeps the worker from starting`(name: String) async throws {
        let error = await #expect(throws: PluginProblems.self) {
            try await self.session("al:secret\n\(name):secret")
        }
        #expect(error?.description.contains("flat_auth_pw:2: the user's name") == true)
    }

    /// `\u{AD}` alone becomes empty; the others are prohibited.
    @Test(arguments: [[0xC2, 0xAD], [0xFF], Array("secret\u{7}".utf8), Array("a\u{627}".utf8)])
    func `a password that is prohibited, or of which nothing is left, is wrong`(
        password: [UInt8]
    ) async throws {
        let hashed = Self.secrets[4].secret
        let session = try await self.session("jo:secret\nal:\(hashed)\nmo:\u{AD}")
        let proof = LoginProof.password(Bytes(octets: password))
        for user: Bytes in ["jo", "al", "mo"] {
            #expect(try await session.auth(user, proof) == .deny)
        }
        #expect(try await session.auth("no", proof) == .declined)
    }

    private static let keys = String(Self.secrets[2].secret.dropFirst("{SCRAM-SHA-256}".count))
}
