import PolicyProtocol
import System
import Testing

@testable import Configuration

@Suite struct FrontendConfigurationTests {
    let folder = TestFolder()

    @Test func `without a file everything is default`() throws {
        let configuration = try FrontendConfiguration.load(directory: self.folder.path)
        #expect(configuration.id == "frontend")
        #expect(configuration.spoolDirectory == "\(self.folder.base)/var/spool")
        #expect(configuration.runtimeDirectory == "\(self.folder.base)/var/run")
        #expect(configuration.listeners.map(\.address.description) == ["127.0.0.1:2525"])
        #expect(configuration.pools.map(\.name) == ["policy"])
        #expect(configuration.pools[0].policy(for: .rcpt).deadlineMS == 20_000)
        #expect(configuration.pools[0].policy(for: .queue).deadlineMS == 60_000)
        #expect(configuration.pools[0].policy(for: .data_post).onFailure == .tempfail)
        #expect(!configuration.hostname.isEmpty)
    }

    @Test func `what EHLO offers by default, and what depends on another extension`() throws {
        let standard = try self.folder.frontend("")
        #expect(!standard.allowNUL)
        let extensions = standard.listeners[0].extensions
        #expect(extensions.contains(.chunking) && !extensions.contains(.binaryMIME))
        let problems = self.folder.frontendProblems(
            """
            [[listener]]
            address = "127.0.0.1:2525"
            extensions = ["BINARYMIME"]
            """
        )
        #expect(problems.count == 1)
        #expect(problems[0].contains("BINARYMIME is of no use without CHUNKING"))
    }

    @Test(arguments: [
        ("", 1), ("auth = [\"PLAIN\"]\nauth_without_tls = true", 1),
        ("auth = [\"PLAIN\"]\nauth_without_tls = true\nrequire_auth = true", 0),
        (
            """
            auth = ["PLAIN"]
            auth_without_tls = true
            require_auth = true
            protocol = "lmtp"
            """, 1
        ),
    ])
    func `FUTURERELEASE is for clients that log in`(keys: String, count: Int) {
        let problems = self.folder.frontendProblems(
            """
            [[listener]]
            address = "127.0.0.1:2525"
            extensions = ["FUTURERELEASE"]
            \(keys)
            [[pool]]
            name = "policy"
            secrets = true
            """
        )
        let found = problems.filter { $0.contains("FUTURERELEASE is for submission") }
        #expect(found.count == count, "\(problems)")
    }

    @Test func `every key is read`() throws {
        let configuration = try self.folder.frontend(
            """
            id = "mx1"
            hostname = "mx1.example.org"
            runtime_directory = "/run/gatepost"
            spool_directory = "spool/../spool2"
            control_directories = ["/var/qmail/control"]
            shutdown_ms = 1
            hang_ms = 3000
            compat = ""
            bare_newline = "normalize"
            allow_nul = true
            log_level = "debug"
            log_format = "json"
            [limits]
            command_timeout_ms = 1001
            reply_timeout_ms = 1002
            max_recipients = 100
            max_message_octets = 1_000_000
            [[listener]]
            name = "mx"
            address = "[::]:25"
            tls = "none"
            greeting_delay_ms = 1000
            greeting_delay_exempt = ["192.0.2.0/24", "::1"]
            greeting_pass_ttl_ms = 5
            extensions = ["SIZE"]
            allow_missing_brackets = true
            [[pool]]
            name = "policy"
            minimum_workers = 2
            on_failure = "reject"
            deadline_ms = 7000
            socket_mode = "0600"
            allowed_users = ["root", "65533"]
            group = "root"
            failure_header = true
            zombie_ms = 20000
            ping_ms = 2000
            always_asked = ["rcpt", "queue"]
            hooks_remembered_ms = 5
            [pool.hooks.connect]
            on_failure = "skip"
            deadline_ms = 5000
            [pool.hooks.queue]
            max_deadline_ms = 600000
            """
        )
        #expect(configuration.id == "mx1")
        #expect(configuration.hostname == "mx1.example.org")
        #expect(configuration.runtimeDirectory == "/run/gatepost")
        #expect(configuration.spoolDirectory == "\(self.folder.base)/spool2")
        #expect(configuration.controlDirectories == [self.folder.path, "/var/qmail/control"])
        #expect(configuration.compatibility == .none)
        #expect(configuration.bareNewline == .normalize)
        #expect(configuration.allowNUL)
        #expect(configuration.logFormat == .json)
        #expect(configuration.limits.commandTimeoutMS == 1_001)
        #expect(configuration.limits.replyTimeoutMS == 1_002)
        #expect(configuration.limits.maximumMessageOctets == 1_000_000)
        let listener = try #require(configuration.listeners.first)
        #expect(listener.name == "mx")
        #expect(listener.greetingDelayMS == 1_000)
        #expect(listener.greetingDelayExempt.map(\.description) == ["192.0.2.0/24", "::1/128"])
        #expect(listener.extensions == [.size])
        #expect(listener.allowMissingBrackets)
        #expect(!listener.allowSpaceAfterColon && !listener.allowLFCommands)
        let pool = try #require(configuration.pools.first)
        #expect(pool.minimumWorkers == 2)
        #expect(pool.socketMode == 0o600)
        #expect(pool.allowedUserIDs == [0, 65_533])
        #expect(pool.groupID == 0)
        #expect(pool.zombieMS == 20_000)
        #expect(pool.pingMS == 2_000)
        #expect(pool.alwaysAsked == [.rcpt, .queue])
        #expect(pool.hooksRememberedMS == 5)
        #expect(pool.policy(for: .connect).onFailure == .skip)
        #expect(pool.policy(for: .connect).deadlineMS == 5_000)
        #expect(pool.policy(for: .mail).deadlineMS == 7_000)
        #expect(pool.policy(for: .mail).onFailure == .reject)
        #expect(pool.policy(for: .queue).maximumDeadlineMS == 600_000)
        #expect(pool.policy(for: .queue).deadlineMS == 7_000)
    }

    @Test func `each allow_ key switches one thing on, and all are off by default`() throws {
        let keys: [(String, KeyPath<FrontendConfiguration.Listener, Bool>)] = [
            ("allow_missing_brackets", \.allowMissingBrackets),
            ("allow_space_after_colon", \.allowSpaceAfterColon),
            ("allow_underscore_in_domain", \.allowUnderscoreInDomain),
            ("allow_trailing_dot", \.allowTrailingDot),
            ("allow_dots_in_local_part", \.allowDotsInLocalPart),
            ("allow_auth_parameter", \.allowAuthParameter),
            ("allow_words_after_hello", \.allowWordsAfterHello),
            ("allow_lf_commands", \.allowLFCommands),
            ("allow_other_protocols", \.allowOtherProtocols),
            ("allow_early_content", \.allowEarlyContent),
            ("allow_commands_after_bare_newline", \.allowCommandsAfterBareNewline),
        ]
        for (key, _) in keys {
            let configuration = try self.folder.frontend(
                "[[listener]]\naddress = \"127.0.0.1:25\"\n\(key) = true\n"
            )
            let listener = try #require(configuration.listeners.first)
            let on = keys.filter { listener[keyPath: $0.1] }.map(\.0)
            #expect(on == [key])
        }
    }

    @Test func `all mistakes are found at once, each with its line`() {
        let found = self.folder.frontendProblems(
            """
            idd = "mx1"
            shutdown_ms = "soon"

            [limits]
            max_recipients = 99   # RFC 5321 §4.5.3.1.8
            max_erors = 3

            [[listener]]
            address = "mx.example.org:25"
            # A comment.

            [[pool]]
            name = "policy"
            on_failure = "ignore"
            [pool.hooks.conect]
            deadline_ms = 1
            [pool.hooks.queue_post]
            [[pool]]
            name = "policy"
            allowed_users = ["nobody-of-that-name", 7]
            """
        )
        #expect(
            found == [
                #"config/frontend.toml:1: idd: is not a key; did you mean "id"?"#,
                "config/frontend.toml:2: shutdown_ms: is a string; write an integer",
                "config/frontend.toml:5: limits.max_recipients: 99 is out of range; "
                    + "write 100 to 1000000",
                #"config/frontend.toml:6: limits.max_erors: is not a key; "#
                    + #"did you mean "max_errors"?"#,
                #"config/frontend.toml:9: listener[0].address: "mx.example.org:25" is not an "#
                    + #"address and a port; write "127.0.0.1:2525", "[::]:25" for both families, "#
                    + #"or "unix:/run/gatepost/lmtp.sock""#,
                #"config/frontend.toml:14: pool[0].on_failure: "ignore" is not one of its words; "#
                    + #"write "tempfail", "skip", "reject""#,
                #"config/frontend.toml:15: pool[0].hooks.conect: is not a hook; "#
                    + #"did you mean "connect"?"#,
                "config/frontend.toml:17: pool[0].hooks.queue_post: is a hook that only tells; "
                    + #"did you mean "queue_pre"?"#,
                #"config/frontend.toml:19: pool[1].name: "policy" names two pools; "#
                    + "give each a name of its own",
                "config/frontend.toml:20: pool[1].allowed_users: element 2 is an integer; "
                    + "write an array of strings",
                #"config/frontend.toml:20: pool[1].allowed_users: there is no user "#
                    + #""nobody-of-that-name"; make the user, or write its number"#,
            ]
        )
    }

    @Test(arguments: [1, 2_999])
    func `a hang is not found before three heartbeats`(milliseconds: Int) {
        #expect(
            self.folder.frontendProblems("hang_ms = \(milliseconds)\n") == [
                "config/frontend.toml:1: hang_ms: \(milliseconds) is too short for programs that "
                    + "beat once a second; write 3000 or more, or 0 for never"
            ]
        )
    }

    @Test func `a file that is no TOML is refused with its line`() {
        let found = self.folder.frontendProblems("id = \"mx1\"\nhostname = \n")
        #expect(found.count == 1)
        #expect(found.first?.hasPrefix("config/frontend.toml:2: is not TOML: ") == true)
    }

    @Test func `a key written twice is a mistake`() {
        #expect(self.folder.frontendProblems("id = \"a\"\nid = \"b\"\n").count == 1)
    }

    @Test func `a folder that is not there is named`() {
        let found = ConfigurationTests.problems(in: self.folder) { () throws(ConfigurationErrors) in
            try FrontendConfiguration.load(directory: "/nonexistent/config")
        }
        #expect(
            found == [
                "/nonexistent/config: there is no such folder; "
                    + "name the folder that holds frontend.toml with --config"
            ]
        )
    }

    @Test func `a socket's path that is too long is found before it is bound`() {
        let deep = String(repeating: "x", count: 100)
        let found = self.folder.frontendProblems(
            "runtime_directory = \"/run/\(deep)\"\n[[pool]]\nname = \"p\"\n"
        )
        #expect(found.count == 1)
        #expect(found.first?.contains("107") == true)
    }

    @Test func `the host name comes from me`() throws {
        self.folder.write("me", "# us\nmx7.example.org\n")
        #expect(try self.folder.frontend("").hostname == "mx7.example.org")
        self.folder.write("me", "not a name\n")
        #expect(self.folder.frontendProblems("").count == 1)
    }

    @Test func `settings that this version does not have are refused and not ignored`() {
        let found = self.folder.frontendProblems(
            """
            compat = "qpsmtpd"
            """
        )
        #expect(found.count == 1)
        #expect(found.allSatisfy { $0.contains("is not in this version") })
    }

    @Test func `hooks that are always asked are hooks that ask`() {
        let found = self.folder.frontendProblems(
            """
            [[pool]]
            name = "a"
            always_asked = ["recpt", "queue_post"]
            [[pool]]
            name = "b"
            always_asked = []
            """
        )
        #expect(
            found == [
                #"config/frontend.toml:3: pool[0].always_asked: "recpt" is not a hook; "#
                    + #"did you mean "rcpt"?"#,
                #"config/frontend.toml:3: pool[0].always_asked: "queue_post" is a hook that "#
                    + #"only tells; did you mean "queue_pre"?"#,
                "config/frontend.toml:6: pool[1].always_asked: names no hook, and a pool without "
                    + #"workers would be passed over; name at least one, as "connect", or "#
                    + "remove the line",
            ]
        )
    }

    @Test(arguments: [
        "shadow_of = \"nobody\"", "shadow_of = \"p\"\ncanary_of = \"p\"\ncanary_percent = 3",
        "canary_of = \"p\"", "canary_percent = 3", "shadow_of = \"q\"",
        "canary_of = \"p\"\ncanary_percent = 101", "shadow_queue = true",
        "canary_of = \"p\"\ncanary_percent = 60\n[[pool]]\nname = \"r\"\ncanary_of = \"p\"\n"
            + "canary_percent = 41",
    ])
    func `a shadow or a canary that makes no sense is refused`(lines: String) {
        #expect(
            !self.folder.frontendProblems(
                "[[pool]]\nname = \"p\"\n[[pool]]\nname = \"q\"\n\(lines)\n"
            ).isEmpty
        )
    }

    @Test func `a shadow and canaries name the pool that decides`() throws {
        let pools = try self.folder.frontend(
            """
            [[pool]]
            name = "p"
            [[pool]]
            name = "q"
            shadow_of = "p"
            shadow_queue = true
            shadow_octets = 5
            shadow_spool_octets = 6
            [[pool]]
            name = "r"
            canary_of = "p"
            canary_percent = 60
            [[pool]]
            name = "s"
            canary_of = "p"
            canary_percent = 40
            """
        )
        .pools
        #expect(pools.map(\.shadowOf) == [nil, "p", nil, nil])
        #expect(pools[1].shadowOctets == 5 && pools[1].shadowSpoolOctets == 6)
        #expect(pools.map(\.isShadowQueueing) == [false, true, false, false])
        #expect(pools.map(\.canaryOf) == [nil, nil, "p", "p"])
        #expect(pools.map(\.canaryPercent) == [0, 0, 60, 40])
    }

    @Test func `the budget of memory has a default and can be switched off`() throws {
        #expect(try self.folder.frontend("").limits.memoryOctets == 536_870_912)
        #expect(try self.folder.frontend("[limits]\nmemory_octets = 0\n").limits.memoryOctets == 0)
        #expect(throws: (any Error).self) {
            try self.folder.frontend("[limits]\nmemory_octets = -1\n")
        }
    }

    @Test func `limits in a row have defaults and can be switched off`() throws {
        var limits = try self.folder.frontend("").limits
        #expect(limits.maximumCommandsWithoutMessage == 1_000)
        #expect(limits.maximumRefusedRecipients == 2_000)
        limits = try self.folder.frontend(
            "[limits]\nmax_commands_without_message = 0\nmax_refused_recipients = 0\n"
        ).limits
        #expect(limits.maximumCommandsWithoutMessage == 0)
        #expect(limits.maximumRefusedRecipients == 0)
    }

    @Test func `limits of networks and of new sessions are off, and can be switched on`() throws {
        var limits = try self.folder.frontend("").limits
        #expect(limits.maximumSessionsPerNetwork == 0)
        #expect(limits.maximumNewSessionsPerIP == 0)
        #expect(limits.maximumNewSessionsPerNetwork == 0)
        limits = try self.folder.frontend(
            "[limits]\nmax_sessions_per_network = 1\nmax_new_sessions_per_ip = 2\n"
                + "max_new_sessions_per_network = 3\n"
        ).limits
        #expect(limits.maximumSessionsPerNetwork == 1)
        #expect(limits.maximumNewSessionsPerIP == 2)
        #expect(limits.maximumNewSessionsPerNetwork == 3)
    }

    @Test func `a user is found by its name or its number, with its group or another`() throws {
        func user(_ text: String) throws -> ProcessUser? { try self.folder.frontend(text).user }
        #expect(try user("") == nil)
        let nobody = try #require(try user(#"user = "nobody""#))
        #expect(nobody.name == "nobody" && nobody.userID != 0 && nobody.groupID != 0)
        #expect(try user("user = \"\(nobody.userID)\"") == nobody)
        let own = try #require(try user("user = \"nobody\"\ngroup = \"61234\""))
        #expect(own.userID == nobody.userID && own.groupID == 61_234)
        let number = try #require(try user("user = \"61234\"\ngroup = \"61235\""))
        #expect(number.name == "61234" && number.userID == 61_234 && number.groupID == 61_235)
    }

    @Test(arguments: [
        (#"user = "no-such-user""#, #"user: there is no user "no-such-user""#),
        (#"user = "root""#, #"user: "root" is root"#), (#"user = "0""#, #"user: "0" is root"#),
        (#"group = "root""#, "group: there is no user to go with it"),
        (#"user = "61234""#, "user: the system has no entry for this number"),
        ("user = \"nobody\"\ngroup = \"no-such\"", #"group: there is no group "no-such""#),
        ("core_dumps = 1", "core_dumps:"),
    ])
    func `a user or group that makes no sense is refused`(text: String, problem: String) {
        let problems = self.folder.frontendProblems(text)
        #expect(problems.count == 1)
        #expect(problems.first?.contains(problem) == true, "\(problems)")
    }

    @Test func `core files are off by default`() throws {
        #expect(try !self.folder.frontend("").coreDumps)
        #expect(try self.folder.frontend("core_dumps = true").coreDumps)
    }

    @Test func `budgets and rates have defaults and can be switched off`() throws {
        var limits = try self.folder.frontend("").limits
        #expect(limits.budgets == FrontendConfiguration.Budgets())
        #expect(limits.maximumCommands == 0)
        limits = try self.folder.frontend(
            """
            [limits]
            command_budget_ms = 1
            envelope_budget_ms = 0
            data_budget_ms = 2
            data_minimum_rate = 0
            max_commands_per_session = 3
            max_commands_per_second = 4
            """
        ).limits
        #expect(limits.maximumCommands == 3)
        var expected = FrontendConfiguration.Budgets()
        (expected.commandMS, expected.envelopeMS, expected.dataMS) = (1, 0, 2)
        (expected.minimumRate, expected.commandsPerSecond) = (0, 4)
        #expect(limits.budgets == expected)
        #expect(self.folder.frontendProblems("[limits]\ndata_minimum_rate = -1\n").count == 1)
        #expect(self.folder.frontendProblems("[limits]\ndata_budget_ms = 86400001\n").count == 1)
    }

    @Test func `no budget cuts a timeout short, and none stays none`() {
        var budgets = FrontendConfiguration.Budgets()
        (budgets.commandMS, budgets.envelopeMS, budgets.dataMS) = (1_000, 0, 9_000)
        budgets = budgets.within(commandTimeoutMS: 5_000, dataTimeoutMS: 7_000)
        #expect(budgets.commandMS == 5_000)
        #expect(budgets.envelopeMS == 0)
        #expect(budgets.dataMS == 9_000)
        #expect(budgets.slackMS == 7_000)
    }

    @Test func `limits are taken at their ends and refused past them`() throws {
        #expect(
            try self.folder.frontend("[limits]\nmax_recipients = 100\n").limits.maximumRecipients
                == 100
        )
        #expect(self.folder.frontendProblems("[limits]\nmax_recipients = 1000001\n").count == 1)
        #expect(
            try self.folder.frontend("[limits]\nmax_recipients = 1000000\n").limits
                .maximumRecipients > 0
        )
        #expect(self.folder.frontendProblems("[limits]\ncommand_timeout_ms = -1\n").count == 1)
        // RFC 5321 §4.5.3.1.6 to §4.5.3.1.8 name the least; §4.5.3.2.7 five minutes for a command.
        for line in ["max_recipients = 99", "max_message_octets = 65535", "max_line_octets = 999"] {
            #expect(self.folder.frontendProblems("[limits]\n\(line)\n").count == 1)
        }
        #expect(try self.folder.frontend("").limits.commandTimeoutMS >= 300_000)
    }
}

@Suite struct TOMLLocatorTests {
    @Test func `keys are found past strings, arrays and comments`() {
        let source = """
            a = "x # [b]"
            c = '''
            d = 1
            ''' # e = 2
            f = [ # g = 1
              "h = 3",
              ["]"],
            ]
            i.j = 1
            "k l".m = 2
            [t]
            n = { o = 1, p = "}" }
            q = \"\"\"x\\\"\"\"\"
            [[u]]
            r = 1
            [u.v]
            s = 1
            [[u]]
            r = 2
            [[u.w]]
            x = 1
            """
        let locator = TOMLLocator(Array(source.utf8))
        let expected = [
            "a": 1, "c": 2, "f": 5, "i.j": 9, "k l.m": 10, "t": 11, "t.n": 12, "t.n.o": 12,
            "t.q": 13, "u[0]": 14, "u[0].r": 15, "u[0].v": 16, "u[0].v.s": 17, "u[1]": 18,
            "u[1].r": 19, "u[1].w[0]": 20, "u[1].w[0].x": 21, "u[1].zzz": 18,
        ]
        for (path, line) in expected {
            #expect(locator.line(of: path) == line, "\(path)")
        }
        #expect(locator.line(of: "zzz") == nil)
    }

    @Test func `no input makes it read past its end`() {
        let source = Array("[[a.b]] \"c\\\" = '''x''' [ { \"\"\"\\".utf8)
        for length in 0...source.count {
            for start in 0...length {
                _ = TOMLLocator(Array(source[start..<length]))
            }
        }
    }
}
