// A process that uses a store as a worker does, for tests with several of them.
//
//     StoreClient FOLDER check           runs StoreCheck.all on the store that the file worker.toml of FOLDER names
//     StoreClient FOLDER add KEY N       adds 1 to a counter, N times, then prints `done`
//     StoreClient FOLDER append KEY N    appends an octet by update, N times, then prints `done`
//     StoreClient FOLDER calls           reads lines `get KEY`, `hasty KEY` (waits for 40 ms), `set KEY VALUE`,
//                                         `add KEY N`; answers each with a line: `ok VALUE`, `none`, `cancelled` or
//                                         `error WHAT`

import Configuration
import NIOCore
import NIOPosix
import PolicyKitTesting
import PolicyProtocol
import Stores
import System

/// A part of the store, so that what a check finds is its own, in which time passes slowly, so that a slow machine
/// is in time for it.
private struct Part: Store {
    /// One second here takes so many.
    static let dilation = 3

    let store: any Store
    let prefix: String

    private func full(_ key: Bytes) -> Bytes { Bytes(octets: Array(self.prefix.utf8) + key.octets) }

    private func short(_ entry: StoreEntry) -> StoreEntry {
        var entry = entry
        entry.key = Bytes(octets: Array(entry.key.octets.dropFirst(self.prefix.utf8.count)))
        entry.expiresIn = entry.expiresIn.map { $0 / Self.dilation }
        return entry
    }

    func get(_ key: Bytes) async throws -> Bytes? { try await self.store.get(self.full(key)) }

    func entry(_ key: Bytes) async throws -> StoreEntry? {
        try await self.store.entry(self.full(key)).map(self.short)
    }

    func set(_ key: Bytes, to value: Bytes, expiresIn lifetime: Duration?) async throws {
        let lifetime = lifetime.map { $0 * Self.dilation }
        try await self.store.set(self.full(key), to: value, expiresIn: lifetime)
    }

    func add(_ amount: Int64, to key: Bytes, expiresIn lifetime: Duration?) async throws -> Int64 {
        let lifetime = lifetime.map { $0 * Self.dilation }
        return try await self.store.add(amount, to: self.full(key), expiresIn: lifetime)
    }

    func compareAndSet(
        _ key: Bytes,
        from expected: Bytes?,
        to value: Bytes?,
        expiresIn lifetime: Duration?
    ) async throws -> StoreComparison {
        let (key, lifetime) = (self.full(key), lifetime.map { $0 * Self.dilation })
        return try await self.store.compareAndSet(
            key,
            from: expected,
            to: value,
            expiresIn: lifetime
        )
    }

    func delete(_ key: Bytes) async throws -> Bool { try await self.store.delete(self.full(key)) }

    func scan(prefix: Bytes, limit: Int) async throws -> [StoreEntry] {
        try await self.store.scan(prefix: self.full(prefix), limit: limit).map(self.short)
    }
}

@main
enum StoreClient {
    static func main() async throws {
        let words = CommandLine.arguments.dropFirst()
        guard words.count == 2 || words.count == 4 else { return self.say("wrong arguments") }
        let configuration = try WorkerConfiguration.load(directory: words[1])
        let loop = MultiThreadedEventLoopGroup.singleton.any()
        let store = configuration.store.driver(on: loop)
        let key = Bytes(words.count == 4 ? words[3] : "")
        let count = words.count == 4 ? Int(words[4]) ?? 0 : 0
        switch words[2] {
        case "check": await self.check(store)
        case "add":
            for _ in 0..<count { _ = try await store.add(1, to: key, expiresIn: .seconds(600)) }
            self.say("done")

        case "append":
            for _ in 0..<count {
                try await store.update(key, expiresIn: .seconds(600)) { value in
                    Bytes(octets: (value?.octets ?? []) + [0x78])
                }
            }
            self.say("done")

        case "calls": while let line = readLine() { await self.call(store, line) }
        default: self.say("wrong arguments")
        }
        await store.close()
    }

    /// At once, for a test that reads a pipe.
    private static func say(_ line: String) {
        _ = DescriptorCalls.write(Array("\(line)\n".utf8), to: DescriptorCalls.standardOutput)
    }

    /// All at once: time passes for all of them together.
    private static func check(_ store: any Store) async {
        await withTaskGroup(of: String.self) { group in
            for (index, check) in StoreCheck.all.enumerated() {
                group.addTask {
                    let isOfLimits = check.description == "keys and values have limits"
                    let part = Part(store: store, prefix: "\(Machine.processID) \(index) ")
                    do {
                        try await check.run(on: isOfLimits ? store : part) {
                            try await Task.sleep(for: $0 * Part.dilation)
                        }
                        return "ok \(check)"
                    } catch {
                        return "failed \(check): \(error)"
                    }
                }
            }
            for await line in group { self.say(line) }
        }
    }

    private static func call(_ store: any Store, _ line: String) async {
        let words = line.split(separator: " ").map { Bytes(String($0)) }
        do {
            switch (words[0], words.count) {
            case ("get", 2): self.say(try await store.get(words[1]).map { "ok \($0)" } ?? "none")
            case ("hasty", 2):
                let task = Task { try await store.get(words[1]) }
                try await Task.sleep(for: .milliseconds(40))
                task.cancel()
                do {
                    _ = try await task.value
                    self.say("ok")
                } catch is CancellationError {
                    self.say("cancelled")
                }

            case ("set", 3):
                try await store.set(words[1], to: words[2], expiresIn: .seconds(600))
                self.say("ok")

            case ("add", 3):
                let amount = words[2].string.flatMap { Int64($0) } ?? 0
                let sum = try await store.add(amount, to: words[1], expiresIn: .seconds(600))
                self.say("ok \(sum)")

            default: self.say("error unknown")
            }
        } catch {
            self.say("error \(error)")
        }
    }
}
