import Configuration
import Foundation
import Logging
import NIOCore
import NIOPosix
import Synchronization

@testable import PolicyKit

/// A worker in this process, and the folder that its frontends' sockets are in.
final class WorkerUnderTest: Sendable {
    let folder: String
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let service: NIOLoopBoundBox<WorkerService?>
    private let facts = Facts()

    /// What the service tells; not the worker itself, which would keep it and be kept by it.
    private final class Facts: Sendable {
        let counts = Mutex((ready: 0, ended: 0))
        /// Has an element for each end.
        let ends = AsyncStream.makeStream(of: Void.self)
    }

    init(
        identity: WorkerIdentity = WorkerIdentity(name: "test-worker", version: "1"),
        concurrency: Int = 64,
        maximumFrameOctets: Int = 1_048_576,
        plugins lines: String = "first\nsecond\nwatcher\n"
    ) throws {
        self.folder = "/tmp/gatepost-kit-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(
            atPath: self.folder + "/run/pools/policy",
            withIntermediateDirectories: true
        )
        try FileManager.default.createDirectory(
            atPath: self.folder + "/config",
            withIntermediateDirectories: true
        )
        try lines.write(
            toFile: self.folder + "/config/plugins",
            atomically: true,
            encoding: .utf8
        )
        let loop = self.group.next()
        self.service = NIOLoopBoundBox.makeEmptyBox(
            valueType: WorkerService.self,
            eventLoop: loop
        )
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let configuration = try WorkerConfiguration.load(directory: self.folder + "/config")
        let directories = configuration.controlDirectories
        let shared = SharedResources(
            eventLoop: loop,
            logger: logger,
            configuration: configuration,
            controlFiles: ControlFiles(directories: directories) { _ in }
        )
        let plugins = try LoadedPlugins(
            PluginsFile.load(directories: directories).lines,
            from: PluginRegistry([
                First.self, Second.self, Watcher.self, Scripted.self, Stager.self,
            ]),
            shared: shared
        )
        let box = self.service
        let facts = self.facts
        let runtimeDirectory = self.folder + "/run"
        try loop.submit {
            let service = WorkerService(
                loop: loop,
                logger: logger,
                identity: identity,
                pool: "policy",
                runtimeDirectory: runtimeDirectory,
                concurrency: concurrency,
                maximumFrameOctets: maximumFrameOctets,
                plugins: plugins,
                scanInterval: .milliseconds(20),
                onReady: { facts.counts.withLock { $0.ready += 1 } },
                onEnd: {
                    facts.counts.withLock { $0.ended += 1 }
                    facts.ends.continuation.yield()
                }
            )
            box.value = service
            service.start()
        }.wait()
    }

    deinit {
        let service = self.service
        let group = self.group
        group.next().execute {
            service.value?.drain(within: .zero)
            service.value = nil
            group.shutdownGracefully { _ in }
        }
        try? FileManager.default.removeItem(atPath: self.folder)
    }

    var ready: Int { self.facts.counts.withLock(\.ready) }
    var ended: Int { self.facts.counts.withLock(\.ended) }

    /// Waits until the worker has ended.
    func end() async { for await _ in self.facts.ends.stream { break } }

    func frontend(_ name: String = "mx1") throws -> FakeFrontend {
        try FakeFrontend(socket: "\(self.folder)/run/pools/policy/\(name).sock")
    }

    func drain(within limit: Duration = .seconds(10)) async throws {
        try await self.group.next().submit { self.service.value?.drain(within: limit) }.get()
    }
}
