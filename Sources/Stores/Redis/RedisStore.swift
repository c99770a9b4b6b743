import Certificates
package import Configuration
package import NIOCore
import NIOSSL
package import PolicyProtocol
import RESP

/// A store in Redis or Valkey, which several machines may use at once.
///
/// All calls go over one connection, one behind the other without waiting for replies. Entries expire by the
/// server's clock. Each key begins with ``prefix``, so that others may use the same database.
package final class RedisStore: StoreDriver {
    /// What the server's keys begin with.
    package static let prefix = Bytes("gatepost/")
    /// The most calls that wait for their reply.
    static let maximumWaiting = 1_024
    /// How many keys the server looks at in one step of a scan.
    private static let scanStep = 1_000

    package let problem: String?
    private let server: WorkerConfiguration.Store.Redis
    private let timeout: Duration
    private let eventLoop: any EventLoop
    private let link: NIOLoopBoundBox<RedisLink>

    /// A store that connects at the first call.
    ///
    /// - Parameters:
    ///   - server: The server.
    ///   - timeout: The most time that a call may take.
    ///   - eventLoop: What the connection lives on.
    package init(
        _ server: WorkerConfiguration.Store.Redis,
        timeout: Duration,
        on eventLoop: any EventLoop
    ) {
        self.server = server
        self.timeout = timeout
        self.eventLoop = eventLoop
        var tls: NIOSSLContext?
        var problem: String?
        do {
            if server.usesTLS {
                tls = try ClientTLS.context(isVerifying: true, authorities: server.authorities)
            }
        } catch {
            problem = "store.ca_file: \(server.authorities ?? "the system's authorities"): \(error)"
        }
        self.problem = problem
        self.link = .makeBoxSendingValue(
            RedisLink(server, timeout: TimeAmount(timeout), tls: tls, on: eventLoop),
            eventLoop: eventLoop
        )
    }

    deinit {
        let link = self.link
        self.eventLoop.execute { link.value.close() }
    }

    package func open() async throws {
        _ = try await self.call([Array("PING".utf8)])
    }

    package func close() async {
        try? await self.eventLoop.submit { self.link.value.close() }.get()
    }

    package func entry(_ key: Bytes) async throws -> StoreEntry? {
        try StoreLimits.check(key)
        let reply = try await self.run(.entry, key, [])
        if reply == .null { return nil }
        guard case .array(let parts) = reply, parts.count == 2, case .string(let value) = parts[0],
            case .integer(let left) = parts[1]
        else { throw self.nonsense }
        return StoreEntry(
            key: key,
            value: Bytes(octets: value),
            expiresIn: left < 0 ? nil : .milliseconds(left)
        )
    }

    package func get(_ key: Bytes) async throws -> Bytes? {
        try StoreLimits.check(key)
        switch try await self.call([Array("GET".utf8), Self.full(key)]) {
        case .string(let value): return Bytes(octets: value)
        case .null: return nil
        case .error, .integer, .array, .push: throw self.nonsense
        }
    }

    package func set(_ key: Bytes, to value: Bytes, expiresIn lifetime: Duration?) async throws {
        try StoreLimits.check(key, value)
        _ = try await self.call(Self.setting(key, value, lifetime?.storeMilliseconds))
    }

    /// The command that sets a key for so many milliseconds, `nil`: for ever; it is gone at once with 0.
    private static func setting(_ key: Bytes, _ value: Bytes, _ lifetime: Int64?) -> [[UInt8]] {
        switch lifetime {
        case nil: [Array("SET".utf8), Self.full(key), value.octets]
        case 0: [Array("DEL".utf8), Self.full(key)]
        case let lifetime?:
            [
                Array("SET".utf8), Self.full(key), value.octets, Array("PX".utf8),
                Self.digits(lifetime),
            ]
        }
    }

    package func add(
        _ amount: Int64,
        to key: Bytes,
        expiresIn lifetime: Duration?
    ) async throws -> Int64 {
        try StoreLimits.check(key)
        let milliseconds = lifetime.map { Self.digits($0.storeMilliseconds) } ?? []
        let reply = try await self.run(.add, key, [Self.digits(amount), milliseconds])
        guard case .string(let digits) = reply,
            let sum = Int64(String(decoding: digits, as: UTF8.self))
        else { throw self.nonsense }
        return sum
    }

    @discardableResult
    package func compareAndSet(
        _ key: Bytes,
        from expected: Bytes?,
        to value: Bytes?,
        expiresIn lifetime: Duration?
    ) async throws -> StoreComparison {
        try StoreLimits.check(key, value)
        let arguments = [
            Array((expected == nil ? "0" : "1").utf8), expected?.octets ?? [],
            Array((value == nil ? "0" : "1").utf8), value?.octets ?? [],
            lifetime.map { Self.digits($0.storeMilliseconds) } ?? [],
        ]
        switch try await self.run(.compareAndSet, key, arguments) {
        case .array([.integer(1)]): return .same
        case .array([.integer(0)]): return .different(nil)
        case .array(let parts):
            guard parts.count == 2, case .string(let current) = parts[1] else {
                throw self.nonsense
            }
            return .different(Bytes(octets: current))

        case .string, .error, .integer, .null, .push: throw self.nonsense
        }
    }

    @discardableResult
    package func delete(_ key: Bytes) async throws -> Bool {
        try StoreLimits.check(key)
        return try await self.call([Array("DEL".utf8), Self.full(key)]) == .integer(1)
    }

    package func scan(prefix: Bytes, limit: Int) async throws -> [StoreEntry] {
        var (found, seen): ([StoreEntry], Set<[UInt8]>) = ([], [])
        var cursor = Array("0".utf8)
        repeat {
            guard found.count < limit else { break }
            let reply = try await self.call([
                Array("SCAN".utf8), cursor, Array("MATCH".utf8), Self.pattern(Self.full(prefix)),
                Array("COUNT".utf8), Self.digits(Int64(Self.scanStep)),
            ])
            guard case .array(let parts) = reply, parts.count == 2,
                case .string(let next) = parts[0],
                case .array(let names) = parts[1]
            else { throw self.nonsense }
            cursor = next
            for case .string(let name) in names where seen.insert(name).inserted {
                guard found.count < limit else { break }
                let key = Bytes(octets: Array(name.dropFirst(Self.prefix.octets.count)))
                if let entry = try await self.entry(key) { found.append(entry) }
            }
        } while cursor != Array("0".utf8)
        return found
    }

    // MARK: Calls

    private static func full(_ key: Bytes) -> [UInt8] { self.prefix.octets + key.octets }

    private static func digits(_ number: Int64) -> [UInt8] { Array("\(number)".utf8) }

    /// What SCAN compares with: the prefix, its wildcards escaped, and anything behind it.
    private static func pattern(_ prefix: [UInt8]) -> [UInt8] {
        prefix.reduce(into: []) { pattern, octet in
            if [0x2A, 0x3F, 0x5B, 0x5C, 0x5D].contains(octet) { pattern.append(0x5C) }
            pattern.append(octet)
        } + [0x2A]
    }

    private var nonsense: StoreError {
        StoreError(.unavailable, "\(self.server.address): the server's reply makes no sense")
    }

    /// Runs a script, which the server may not know yet.
    private func run(
        _ script: RedisScript,
        _ key: Bytes,
        _ arguments: [[UInt8]]
    ) async throws -> RESPValue {
        let rest = [Self.digits(1), Self.full(key)] + arguments
        let reply = try await self.reply([Array("EVALSHA".utf8), script.digest] + rest)
        guard case .error(let words) = reply, words.hasPrefix("NOSCRIPT") else {
            return try self.checked(reply)
        }
        return try await self.call([Array("EVAL".utf8), script.text] + rest)
    }

    /// Sends a command.
    ///
    /// - Throws: ``StoreError`` for an error of the server, too.
    private func call(_ words: [[UInt8]]) async throws -> RESPValue {
        try self.checked(try await self.reply(words))
    }

    private func checked(_ reply: RESPValue) throws(StoreError) -> RESPValue {
        guard case .error(let words) = reply else { return reply }
        let isFull = words.hasPrefix("OOM") || words.contains("-OOM")
        let isNoCounter =
            words.contains("is not an integer or out of range") || words.contains("would overflow")
        throw StoreError(
            isFull ? .full : isNoCounter ? .notCounter : .unavailable,
            "\(self.server.address): \(words)"
        )
    }

    private func reply(_ words: [[UInt8]]) async throws -> RESPValue {
        if let problem { throw StoreError(.unavailable, problem) }
        let (loop, link) = (self.eventLoop, self.link)
        let reply = PendingCall<RESPValue>(
            on: loop,
            within: self.timeout,
            of: self.server.address
        ) { reply in
            link.value.timedOut(reply)
        }
        let call = RedisCall(request: ByteBuffer(bytes: RESPCommand.octets(words)), reply: reply)
        loop.execute { link.value.send(call) }
        return try await reply.value()
    }
}
