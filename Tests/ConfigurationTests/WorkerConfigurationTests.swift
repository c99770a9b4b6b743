import System
import Testing

@testable import Configuration

@Suite struct WorkerConfigurationTests {
    let folder = TestFolder()

    func load(_ toml: String) throws -> WorkerConfiguration {
        self.folder.write("worker.toml", toml)
        return try WorkerConfiguration.load(directory: self.folder.path)
    }

    @Test func `without a file everything is default`() throws {
        let configuration = try WorkerConfiguration.load(directory: self.folder.path)
        #expect(configuration.pool == "policy")
        #expect(configuration.concurrency == 64)
        #expect(
            configuration.store.place == .sqlite(path: "\(self.folder.base)/var/state/gatepost.db")
        )
        #expect(configuration.runtimeDirectory == "\(self.folder.base)/var/run")
        #expect(configuration.baseDirectory == self.folder.base)
    }

    @Test func `what the frontend says holds unless the worker says otherwise`() throws {
        self.folder.write(
            "frontend.toml",
            """
            runtime_directory = "/run/gatepost"
            control_directories = ["/var/qmail/control"]
            log_level = "debug"
            log_format = "json"
            """
        )
        let configuration = try self.load("log_level = \"error\"\n")
        #expect(configuration.runtimeDirectory == "/run/gatepost")
        #expect(configuration.controlDirectories == [self.folder.path, "/var/qmail/control"])
        #expect(configuration.logLevel == .error)
        #expect(configuration.logFormat == .json)
    }

    @Test func `the frontend's user is the worker's, with its group, unless it has another`() throws
    {
        self.folder.write(
            "frontend.toml",
            "user = \"nobody\"\ngroup = \"61234\"\ncore_dumps = true\n"
        )
        var configuration = try self.load("")
        #expect(configuration.user?.name == "nobody")
        #expect(configuration.user?.groupID == 61_234)
        #expect(configuration.coreDumps)
        configuration = try self.load("user = \"daemon\"\ncore_dumps = false\n")
        #expect(configuration.user?.name == "daemon")
        #expect(configuration.user?.groupID != 61_234)
        #expect(!configuration.coreDumps)
        #expect(throws: ConfigurationErrors.self) { try self.load("user = \"no-such-user\"\n") }
    }

    @Test func `recipients may have control files of their own`() throws {
        #expect(try self.load("").recipientDirectory == nil)
        let configuration = try self.load("recipient_directory = \"var/%h/%u\"\n")
        #expect(configuration.recipientDirectory?.pattern == "\(self.folder.base)/var/%h/%u")
        let error = #expect(throws: ConfigurationErrors.self) {
            try self.load("recipient_directory = \"var/own\"\n")
        }
        #expect("\(try #require(error))".contains("write %u for the local part"))
    }

    @Test func `resolvers are addresses with or without a port`() throws {
        let configuration = try self.load(
            "[dns]\nservers = [\"127.0.0.1:5353\", \"192.0.2.53\", \"[::1]:53\", \"2001:db8::1\"]\n"
        )
        #expect(configuration.dns.servers.map(\.port) == [5_353, 53, 53, 53])
        #expect(
            configuration.dns.servers.map(\.host.description) == [
                "127.0.0.1", "192.0.2.53", "::1", "2001:db8::1",
            ]
        )
    }

    @Test func `a trust anchor is a file that is there`() throws {
        self.folder.write("root.key", ". IN DS 1 8 2 00")
        let line = "[dns]\ntrust_anchor_file = \"config/root.key\"\n"
        let file = try self.load(line).dns.trustAnchorFile
        #expect(file?.hasPrefix("/") == true && file?.hasSuffix("/config/root.key") == true)
        #expect(try self.load("").dns.trustAnchorFile == nil)
        self.folder.delete("root.key")
        #expect(throws: ConfigurationErrors.self) { try self.load(line) }
    }

    @Test(arguments: [
        ("redis://127.0.0.1:6379/0", "127.0.0.1", 6_379, 0, false),
        ("redis://[::1]/3", "::1", 6_379, 3, false), ("redis://[::1]:7/", "::1", 7, 0, false),
        ("rediss://valkey:7000", "valkey", 7_000, 0, true),
    ])
    func `a store may be a server`(
        url: String,
        host: String,
        port: Int,
        database: Int,
        usesTLS: Bool
    ) throws {
        var redis = WorkerConfiguration.Store.Redis(host: host)
        redis.port = port
        redis.database = database
        redis.usesTLS = usesTLS
        let store = try self.load("[store]\nurl = \"\(url)\"\n").store
        #expect(store == WorkerConfiguration.Store(.redis(redis)))
    }

    @Test func `a store may be a file or in memory`() throws {
        let file = try self.load(
            "[store]\nurl = \"sqlite:/srv/state.db\"\ntimeout_ms = 500\nmax_octets = 2000000\n"
        ).store
        #expect(file.place == .sqlite(path: "/srv/state.db"))
        #expect(file.timeoutMS == 500 && file.maximumOctets == 2_000_000)
        #expect(try self.load("[store]\nurl = \"memory:\"\n").store.place == .memory)
    }

    @Test(
        arguments: [
            (":s3cret@", nil, "s3cret"), ("me:s3cret@", "me", "s3cret"),
            ("m%65:a%3A%40b@", "me", "a:@b"), ("me:a:b@", "me", "a:b"), (":@", nil, nil),
        ] as [(String, String?, String?)]
    )
    func `a login stands before the host`(login: String, user: String?, password: String?) throws {
        let store = try self.load("[store]\nurl = \"redis://\(login)127.0.0.1/1\"\n").store
        var redis = WorkerConfiguration.Store.Redis(host: "127.0.0.1")
        redis.database = 1
        redis.user = user
        redis.password = password
        #expect(store.place == .redis(redis))
    }

    @Test func `a password may stand in a file of its own`() throws {
        self.folder.write("secret", "s3cret\n")
        let toml = "[store]\nurl = \"rediss://me@host\"\nca_file = \"ca.pem\"\n"
        let store = try self.load(toml + "password_file = \"config/secret\"\n").store
        var redis = WorkerConfiguration.Store.Redis(host: "host")
        redis.usesTLS = true
        redis.user = "me"
        redis.password = "s3cret"
        redis.authorities = "\(self.folder.base)/ca.pem"
        #expect(store.place == .redis(redis))
    }

    @Test(arguments: [
        ("url = \"redis://me@h\"", "store.url: names a user without a password"),
        (
            "url = \"redis://h\"\npassword_file = \"none\"",
            "store.password_file: none cannot be read"
        ),
        ("url = \"redis://:a@h\"\npassword_file = \"config/secret\"", "url has a password too"),
        ("url = \"redis://h\"\npassword_file = \"config/empty\"", "has no password"),
        ("url = \"redis://h\"\nca_file = \"x\"", "store.ca_file: is for TLS"),
        ("ca_file = \"x\"", "store.ca_file: is for a server"),
        ("password_file = \"config/secret\"", "store.password_file: is for a server"),
        ("timeout_ms = 0", "store.timeout_ms: 0 is out of range"),
        ("url = \"redis://me:s3cret@h:x/0\"", "\"redis://…@h:x/0\" is not a store"),
    ])
    func `a mistake in a store is said`(toml: String, message: String) {
        self.folder.write("secret", "s3cret\n")
        self.folder.write("empty", "\n")
        self.folder.write("worker.toml", "[store]\n\(toml)\n")
        let found = problems(in: self.folder) { () throws(ConfigurationErrors) in
            try WorkerConfiguration.load(directory: self.folder.path)
        }
        #expect(found.count == 1 && found[0].contains(message), "\(found)")
        #expect(!found.description.contains("s3cret"))
    }

    @Test func `all mistakes are found at once, each with its line`() {
        self.folder.write(
            "worker.toml",
            """
            concurrency = 0
            pol = "x"
            [dns]
            servers = ["localhost", "dns.example.org"]
            [store]
            url = "mysql://x"
            """
        )
        let found = problems(in: self.folder) { () throws(ConfigurationErrors) in
            try WorkerConfiguration.load(directory: self.folder.path)
        }
        #expect(found.count == 5)
        #expect(
            found.first?.hasPrefix("config/worker.toml:1: concurrency: 0 is out of range") == true
        )
    }

    @Test(arguments: [
        "sqlite:", "sqlite:var/", "redis://", "redis://:1/x", "redis://h:x/0", "redis://h/x", "x",
        "redis://%4:x@h", "redis://h:0", "redis://h/-1", "memory", "valkey://h",
    ])
    func `a URL that is no store is refused`(url: String) {
        #expect(throws: ConfigurationErrors.self) {
            try self.load("[store]\nurl = \"\(url)\"\n")
        }
    }
}
