import Testing

@testable import Configuration

/// The keys of a listener behind a proxy.
@Suite struct ProxyConfigurationTests {
    let folder = TestFolder()

    private func problems(_ keys: String) -> [String] {
        self.folder.frontendProblems("[[listener]]\naddress = \"127.0.0.1:2525\"\n" + keys)
    }

    @Test func `every key is read`() throws {
        self.folder.write(
            "frontend.toml",
            """
            [[listener]]
            address = "127.0.0.1:2525"
            proxy_protocol = true
            proxy_networks = ["192.0.2.7", "2001:db8:1::/64"]
            proxy_timeout_ms = 100
            xclient_networks = ["192.0.2.8"]
            xforward_networks = ["192.0.2.9", "::1"]
            """
        )
        let listener = try #require(
            try FrontendConfiguration.load(directory: self.folder.path).listeners.first
        )
        #expect(listener.proxyProtocol)
        #expect(
            listener.proxyNetworks.map(\.description) == ["192.0.2.7/32", "2001:db8:1::/64"]
        )
        #expect(listener.proxyTimeoutMS == 100)
        #expect(listener.xclientNetworks.map(\.description) == ["192.0.2.8/32"])
        #expect(listener.xforwardNetworks.map(\.description) == ["192.0.2.9/32", "::1/128"])
    }

    @Test func `no proxy is the default`() {
        let listener = FrontendConfiguration.Listener(
            name: "mx",
            address: ListenAddress(host: IPAddress(ipv4: 0), port: 0)
        )
        #expect(!listener.proxyProtocol && listener.proxyNetworks.isEmpty)
        #expect(listener.proxyTimeoutMS == 5_000)
        #expect(listener.xclientNetworks.isEmpty && listener.xforwardNetworks.isEmpty)
    }

    @Test(arguments: [
        ("proxy_protocol = true\n", ["needs proxy_networks"]),
        ("proxy_protocol = true\nproxy_networks = []\n", ["needs proxy_networks"]),
        ("proxy_networks = [\"192.0.2.7\"]\n", ["has no effect without proxy_protocol"]),
        (
            "proxy_protocol = true\nproxy_networks = [\"proxy.example\"]\n",
            ["\"proxy.example\" is not an address or a network"]
        ),
        (
            "proxy_protocol = true\nproxy_networks = [\"::1\"]\nproxy_timeout_ms = 99\n",
            ["99"]
        ),
        ("xclient_networks = [\"a\"]\n", ["\"a\" is not an address or a network"]),
        ("xforward_networks = [\"b/8\"]\n", ["\"b/8\" is not an address or a network"]),
    ])
    func `what cannot be is an error`(keys: String, expected: [String]) {
        let problems = self.problems(keys)
        #expect(problems.count == expected.count, "\(problems)")
        for (problem, text) in zip(problems, expected) {
            #expect(problem.contains(text), "\(problem)")
        }
    }
}
