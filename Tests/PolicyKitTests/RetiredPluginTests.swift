import Configuration
import Logging
import NIOPosix
import Testing

@testable import PolicyKit

/// Names of `config/plugins` that are no plugins here.
struct RetiredPluginTests {
    private struct Kept: ConnectHook {
        static let name = "kept"
        static let aliases = ["old_kept"]

        init(configuration: PluginConfiguration) {}

        func connect(_ event: ConnectEvent) async throws -> Answer { .declined }
    }

    private static let registry = PluginRegistry(
        [Kept.self],
        retired: [
            RetiredPlugin("log_it", .ignored, "it is logged anyway"),
            RetiredPlugin("scan_it", .refused, "use scan"),
            RetiredPlugin("old_kept", .refused, "never said"),
        ]
    )

    @Test func `a name that is not needed is a warning`() throws {
        let session = try LoadedPlugins(
            [
                Self.line("log_it", 3, ["level", "4", "x"]), Self.line("kept", 4),
                Self.line("old_kept", 5),
            ],
            from: Self.registry,
            shared: Self.shared()
        )
        #expect(session.entries.map(\.instance) == ["kept", "kept"])
        #expect(
            session.warnings.map(\.description).first == "plugins:3: log_it: it is logged anyway"
        )
    }

    @Test func `a name without which something is missing is a problem`() throws {
        let error = #expect(throws: PluginProblems.self) {
            try LoadedPlugins(
                [Self.line("scan_it", 1), Self.line("nosuch", 2)],
                from: Self.registry,
                shared: Self.shared()
            )
        }
        let lines = try #require(error).problems.map(\.description)
        #expect(lines.first == "plugins:1: scan_it: use scan")
        #expect(lines.count == 2 && lines.last?.contains("unknown plugin") == true)
    }

    private static func shared() throws -> SharedResources {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let configuration = WorkerConfiguration(
            directory: "/nonexistent",
            baseDirectory: "/nonexistent",
            runtimeDirectory: "/nonexistent",
            store: .init(.memory)
        )
        return SharedResources(
            eventLoop: MultiThreadedEventLoopGroup.singleton.any(),
            logger: logger,
            configuration: configuration,
            controlFiles: ControlFiles(directories: []) { _ in }
        )
    }

    private static func line(
        _ name: String,
        _ number: Int,
        _ arguments: [String] = []
    ) -> PluginLine {
        PluginLine(name: name, instance: nil, arguments: arguments, file: "plugins", line: number)
    }
}
