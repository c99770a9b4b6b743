import Testing

@testable import Configuration

/// The files under config/ are the manual: they load, and each default in them is the default.
@Suite struct ShippedConfigurationTests {
    private static let directory: String = {
        let parts = #filePath.split(separator: "/").dropLast(3)
        return "/" + parts.joined(separator: "/") + "/config"
    }()

    /// The file with every `#key = value` line made a `key = value` line.
    private static func withDefaults(_ name: String) throws -> String {
        let octets = try FileOctets.read("\(Self.directory)/\(name)").octets
        return String(decoding: octets, as: UTF8.self)
            .split(separator: "\n", omittingEmptySubsequences: false)
            .map { line in
                let isDefault = line.hasPrefix("#") && !line.hasPrefix("# ") && line.contains(" = ")
                return isDefault ? String(line.dropFirst()) : String(line)
            }
            .joined(separator: "\n")
    }

    @Test func `it loads as it is`() throws {
        let frontend = try FrontendConfiguration.load(directory: Self.directory)
        #expect(frontend.hostname == "mx.example.com")
        #expect(frontend.listeners.map(\.address.description) == ["127.0.0.1:2525"])
        _ = try WorkerConfiguration.load(directory: Self.directory)
        let plugins = try PluginsFile.load(directories: [Self.directory])
        #expect(plugins.lines.last?.name == "queue/maildir")
        #expect(!plugins.lines.contains { $0.name == "spamassassin" })
    }

    @Test func `each default that frontend.toml shows is the default`() throws {
        let folder = TestFolder()
        // Six lines show an example instead of a default.
        let shown = try Self.withDefaults("frontend.toml")
            .replacing("\nhostname = \"mx1.example.org\"", with: "")
            .replacing("\nuser = \"gatepost\"", with: "\n#")
            .replacing("\ngroup = \"gatepost\"", with: "\n#")
            .replacing("\nclient_ca_file = \"/etc/ssl/gatepost/clients.pem\"", with: "\n#")
            .replacing("\ndeadline_ms = 20000", with: "")
        folder.write("frontend.toml", shown)
        var loaded = try FrontendConfiguration.load(directory: folder.path)
        #expect(loaded.listeners.first?.greetingDelayMS == 1_000)
        loaded.listeners[0].greetingDelayMS = 0
        loaded.listeners[0].name = "default"
        folder.delete("frontend.toml")
        let expected = try FrontendConfiguration.load(directory: folder.path)
        #expect(loaded.limits == expected.limits)
        #expect(loaded.listeners == expected.listeners)
        #expect(loaded.pools.first?.policy == expected.pools.first?.policy)
        loaded.pools[0].hooks = expected.pools[0].hooks
        #expect(loaded == expected)
    }

    @Test func `each default that worker.toml shows is the default`() throws {
        let folder = TestFolder()
        folder.write("worker.toml", try Self.withDefaults("worker.toml"))
        let loaded = try WorkerConfiguration.load(directory: folder.path)
        folder.delete("worker.toml")
        #expect(loaded == (try WorkerConfiguration.load(directory: folder.path)))
    }

    @Test func `each key of frontend.toml is shown`() throws {
        let shown = try Self.withDefaults("frontend.toml")
        let folder = TestFolder()
        folder.write(
            "frontend.toml",
            "zzzzzzzzzz = 1\n[limits]\nzzzzzzzzzz = 1\n[tls]\nzzzzzzzzzz = 1\n[[listener]]\n"
                + "address = \"127.0.0.1:0\"\nzzzzzzzzzz = 1\n[[pool]]\nname = \"p\"\nzzzzzzzzzz = 1\n"
        )
        let found = problems(in: folder) { () throws(ConfigurationErrors) in
            try FrontendConfiguration.load(directory: folder.path)
        }
        #expect(found.count == 5)
        // Shown as examples, with a space behind the #, for no value of them is a default.
        let examples = [
            "always_asked", "shadow_of", "shadow_queue", "shadow_octets", "shadow_spool_octets",
            "canary_of",
            "canary_percent", "listener", "limits", "tls",
            "pool", "certificate", "chain", "key", "names",
        ]
        for problem in found {
            let keys = problem.split(separator: "one of: ").last ?? ""
            for key in keys.split(separator: ", ") where !examples.contains(String(key)) {
                #expect(shown.contains("\n\(key) = ") || key == "hooks", "\(key)")
            }
        }
    }
}
