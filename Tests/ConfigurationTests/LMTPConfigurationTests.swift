import Testing

@testable import Configuration

/// The keys of a listener of LMTP, and of one on a Unix socket.
@Suite struct LMTPConfigurationTests {
    let folder = TestFolder()

    @Test func `every key is read`() throws {
        self.folder.write(
            "frontend.toml",
            """
            [[listener]]
            address = "unix:/run/gatepost/lmtp.sock"
            protocol = "lmtp"
            socket_mode = "0600"
            [[listener]]
            address = "[::1]:24"
            protocol = "lmtp"
            [[listener]]
            address = "127.0.0.1:2525"
            """
        )
        let listeners = try FrontendConfiguration.load(directory: self.folder.path).listeners
        #expect(listeners.map(\.mailProtocol) == [.lmtp, .lmtp, .smtp])
        #expect(listeners.map(\.address.path) == ["/run/gatepost/lmtp.sock", nil, nil])
        #expect(listeners.map(\.socketMode) == [0o600, 0o660, 0o660])
        #expect(listeners.map(\.address.host.isLoopback) == [true, true, true])
        #expect(IPAddress(parsing: "127.9.9.9")?.isLoopback == true)
        #expect(IPAddress(parsing: "128.0.0.1")?.isLoopback == false)
        #expect(IPAddress(parsing: "::2")?.isLoopback == false)
    }

    @Test(arguments: [
        ("127.0.0.1:24", "protocol = \"LMTP\"", ["\"LMTP\""]),
        ("[::]:25", "protocol = \"lmtp\"", ["must not be spoken on port 25"]),
        ("127.0.0.1:24", "socket_mode = \"0600\"", ["has no effect on 127.0.0.1:24"]),
        ("unix:/a", "socket_mode = \"0060\"", ["not a mode"]),
        (
            "127.0.0.1:24", "protocol = \"lmtp\"\nextensions = [\"PIPELINING\"]",
            ["needs PIPELINING and ENHANCEDSTATUSCODES"]
        ),
        ("unix:a", "protocol = \"lmtp\"", ["is not an address and a port"]),
        ("unix:/a", "[[listener]]\naddress = \"unix:/a\"\nname = \"b\"", ["taken by a listener"]),
    ])
    func `what cannot be is an error`(address: String, keys: String, expected: [String]) {
        let problems = self.folder.frontendProblems(
            "[[listener]]\naddress = \"\(address)\"\n\(keys)\n"
        )
        #expect(problems.count == expected.count, "\(problems)")
        for (problem, text) in zip(problems, expected) {
            #expect(problem.contains(text), "\(problem)")
        }
    }

    @Test func `a Unix socket keeps its mode until the restart`() throws {
        func load(_ mode: String) throws -> FrontendConfiguration {
            self.folder.write(
                "frontend.toml",
                "[[listener]]\naddress = \"unix:/a\"\nname = \"l\"\nsocket_mode = \"\(mode)\"\n"
            )
            return try FrontendConfiguration.load(directory: self.folder.path)
        }
        let old = try load("0660")
        let (merged, waiting) = old.reloaded(with: try load("0600"))
        #expect(waiting == ["listener l: socket_mode"])
        #expect(merged.listeners == old.listeners)
    }
}
