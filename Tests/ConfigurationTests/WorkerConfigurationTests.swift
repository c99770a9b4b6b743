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
        #expect(configuration.store == .sqlite(path: "\(self.folder.base)/var/state/gatepost.db"))
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
        ("redis://127.0.0.1:6379/0", "127.0.0.1", 6_379, 0), ("redis://[::1]/3", "::1", 6_379, 3),
        ("redis://valkey:7000", "valkey", 7_000, 0),
    ])
    func `a store is a file or a server`(url: String, host: String, port: Int, database: Int) throws
    {
        #expect(
            try self.load("[store]\nurl = \"\(url)\"\n").store
                == .redis(host: host, port: port, database: database, password: nil)
        )
        #expect(
            try self.load("[store]\nurl = \"sqlite:/srv/state.db\"\n").store
                == .sqlite(path: "/srv/state.db")
        )
    }

    @Test func `a password stands before the host`() throws {
        #expect(
            try self.load("[store]\nurl = \"redis://:s3cret@127.0.0.1/1\"\n").store
                == .redis(host: "127.0.0.1", port: 6_379, database: 1, password: "s3cret")
        )
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

    @Test(arguments: ["sqlite:", "redis://", "redis://:1/x", "redis://h:x/0", "redis://h/x", "x"])
    func `a URL that is no store is refused`(url: String) {
        #expect(throws: ConfigurationErrors.self) {
            try self.load("[store]\nurl = \"\(url)\"\n")
        }
    }
}
