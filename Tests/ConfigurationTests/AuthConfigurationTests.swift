import Testing

@testable import Configuration

/// The keys of listeners, pools and limits that belong to AUTH.
@Suite struct AuthConfigurationTests {
    let folder = TestFolder()

    private static let tls = """
        [[tls.certificate]]
        chain = "a.pem"
        key = "a.key"

        """

    @Test func `every key is read`() throws {
        let configuration = try self.folder.frontend(
            """
            [limits]
            max_auth_failures = 5
            max_auth_failures_per_ip = 7
            max_auth_failures_per_user = 50
            auth_failure_delay_ms = 0
            auth_failures_remembered_ms = 1000
            [[tls.certificate]]
            chain = "a.pem"
            key = "a.key"
            [[listener]]
            address = "127.0.0.1:2525"
            tls = "starttls"
            auth = ["LOGIN", "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "OAUTHBEARER", "XOAUTH2"]
            require_auth = true
            [[listener]]
            address = "127.0.0.1:2526"
            auth = ["PLAIN"]
            auth_without_tls = true
            """
        )
        let failed = configuration.limits.failedLogins
        #expect(failed.maximum == 5 && failed.maximumPerIP == 7 && failed.maximumPerUser == 50)
        #expect(failed.delayMS == 0 && failed.rememberedMS == 1_000)
        #expect(
            configuration.listeners[0].auth
                == [
                    .login, .plain, .cramMD5, .scramSHA256, .scramSHA256Plus, .oauthBearer,
                    .xoauth2,
                ]
        )
        #expect(configuration.listeners.map(\.requireAuth) == [true, false])
        #expect(configuration.listeners.map(\.authWithoutTLS) == [false, true])
    }

    @Test func `no listener offers AUTH unless told so`() throws {
        let configuration = try self.folder.frontend("")
        #expect(configuration.listeners.map(\.auth) == [[]])
        let failed = configuration.limits.failedLogins
        #expect(failed.maximum == 3 && failed.maximumPerIP == 20 && failed.maximumPerUser == 0)
        #expect(failed.delayMS == 1_000 && failed.rememberedMS == 600_000)
    }

    @Test(arguments: [
        ("", [true]),
        ("[[pool]]\nname = \"a\"\n", [true]),
        ("[[pool]]\nname = \"a\"\nsecrets = false\n", [false]),
        ("[[pool]]\nname = \"a\"\n[[pool]]\nname = \"b\"\n", [false, false]),
        ("[[pool]]\nname = \"a\"\n[[pool]]\nname = \"b\"\nsecrets = true\n", [false, true]),
        (
            "[[pool]]\nname = \"a\"\n[[pool]]\nname = \"c\"\ncanary_of = \"a\"\ncanary_percent = 5\n",
            [true, true]
        ),
        ("[[pool]]\nname = \"a\"\n[[pool]]\nname = \"s\"\nshadow_of = \"a\"\n", [true, false]),
    ])
    func `only the only pool sees passwords by itself`(toml: String, secrets: [Bool]) throws {
        #expect(try self.folder.frontend(toml).pools.map(\.secrets) == secrets)
    }

    @Test(arguments: [
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nauth_without_tls = true\nauth = [\"PLIAN\"]\n",
            "\"PLIAN\" is not a mechanism of this version"
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nauth = [\"PLAIN\"]\n",
            "is offered under TLS only, and this listener has none"
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nrequire_auth = true\n",
            "nobody can authenticate here"
        ),
        (
            Self.tls + "[[listener]]\naddress = \"127.0.0.1:1\"\ntls = \"implicit\"\n"
                + "auth = [\"PLAIN\"]\n[[pool]]\nname = \"a\"\nsecrets = false\n",
            "no pool may see passwords"
        ),
        (
            "[[pool]]\nname = \"a\"\n[[pool]]\nname = \"s\"\nshadow_of = \"a\"\nsecrets = true\n",
            "a shadow is never shown a password"
        ),
    ])
    func `a mistake is told`(toml: String, problem: String) {
        let problems = self.folder.frontendProblems(toml)
        #expect(problems.count == 1 && problems[0].contains(problem), "\(problems)")
    }
}
