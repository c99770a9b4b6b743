import Testing

@testable import Configuration

@Suite struct ReloadTests {
    let folder = TestFolder()

    @Test func `limits, policies and delays count at once`() throws {
        let old = try self.folder.frontend("")
        let new = try self.folder.frontend(
            """
            log_level = "debug"
            [limits]
            max_errors = 3
            [[listener]]
            name = "default"
            address = "127.0.0.1:2525"
            greeting_delay_ms = 5
            [[pool]]
            name = "policy"
            on_failure = "skip"
            """
        )
        let (merged, waiting) = old.reloaded(with: new)
        #expect(waiting.isEmpty)
        #expect(merged == new)
    }

    @Test func `sockets, folders and names wait for a restart and are named`() throws {
        let old = try self.folder.frontend("")
        let new = try self.folder.frontend(
            """
            id = "mx2"
            user = "nobody"
            core_dumps = true
            runtime_directory = "/run/a"
            spool_directory = "/spool"
            shutdown_ms = 1
            [[listener]]
            address = "127.0.0.1:2526"
            [[pool]]
            name = "other"
            [[pool]]
            name = "policy"
            socket_mode = "0600"
            group = "0"
            queue_limit = 7
            """
        )
        let (merged, waiting) = old.reloaded(with: new)
        #expect(
            waiting == [
                "id", "user", "core_dumps", "runtime_directory", "spool_directory", "listener",
                "pool", "pool policy: group", "pool policy: socket_mode",
            ]
        )
        #expect(merged.shutdownMS == 1)
        #expect(merged.pools.map(\.name) == ["policy"])
        #expect(merged.pools[0].queueLimit == 7)
        #expect(merged.listeners == old.listeners)
        #expect(old.reloaded(with: merged).waiting.isEmpty)
    }
}
