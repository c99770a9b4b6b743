import Addresses
import ArgumentParser
import KarmaRecords
import PolicyProtocol
import Stores
import System

/// `gatepost karma`: shows and corrects what the plugin `karma` remembers of clients.
struct KarmaCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "karma",
        abstract: "Shows what the plugin karma remembers of clients, and corrects it.",
        discussion: """
            It works on the [store] of worker.toml while workers use it, as the worker's user. An IPv6 client is its /64. \
            Exit code 0: done; 1: a client is not known; 64: wrong arguments; 69: the store cannot be used, or it is in \
            the workers' memory; 78: a mistake in worker.toml.
            """,
        subcommands: [List.self, Search.self, Capture.self, Release.self, Prune.self]
    )

    /// The most records that are looked at.
    private static let most = 1_000_000

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "One line a client, worst first.")

        @OptionGroup var place: StorePlace

        func run() throws { KarmaCommand.print(try KarmaCommand.records(self.place)) }
    }

    struct Search: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "The clients that were naughty, nice or both; or one client."
        )

        @OptionGroup var place: StorePlace

        @Argument(help: "naughty, nice, both, or an IP address.")
        var what: String

        func run() throws {
            let isMeant: (Bytes, KarmaRecord) -> Bool
            switch self.what.lowercased() {
            case "naughty": isMeant = { $1.naughty > 0 }
            case "nice": isMeant = { $1.nice > 0 }
            case "both": isMeant = { $1.naughty > 0 && $1.nice > 0 }
            default:
                let key = try KarmaCommand.key(self.what)
                isMeant = { client, _ in client == key }
            }
            let found = try KarmaCommand.records(self.place).filter {
                isMeant($0.client, $0.record)
            }
            KarmaCommand.print(found)
            if found.isEmpty { throw StoreCommand.notThere }
        }
    }

    struct Capture: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Puts clients into the penalty box: they may not connect for some days."
        )

        @OptionGroup var place: StorePlace

        @Option(help: "The days.")
        var days = 1

        @Argument(help: "IP addresses.")
        var clients: [String]

        func run() throws {
            guard (1...3_650).contains(self.days) else {
                throw ValidationError("--days must be from 1 to 3650")
            }
            let days = self.days
            try KarmaCommand.change(self.place, self.clients, "captured") { record, now in
                var record = record ?? KarmaRecord()
                record.naughty = min(record.naughty + 1, KarmaRecord.most)
                record.capture(days: days, at: now)
                return record
            }
        }
    }

    struct Release: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lets clients out of the penalty box; what they did stays known."
        )

        @OptionGroup var place: StorePlace

        @Argument(help: "IP addresses.")
        var clients: [String]

        func run() throws {
            try KarmaCommand.change(self.place, self.clients, "released") { record, _ in
                var record = record
                record?.until = 0
                return record
            }
        }
    }

    struct Prune: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Forgets clients that were not here for some days."
        )

        @OptionGroup var place: StorePlace

        @Argument(help: "The days.")
        var days = 7

        func run() throws {
            guard (1...3_650).contains(self.days) else {
                throw ValidationError("DAYS must be from 1 to 3650")
            }
            let now = UnixTime.milliseconds / 1_000
            let before = now - Int64(self.days) * 86_400
            let old = try KarmaCommand.records(self.place).filter {
                $0.record.seen < before && !$0.record.isPenalized(at: now)
            }
            let removed = try self.place.perform(for: "karma") { store in
                var count = 0
                for (client, record) in old {
                    // A client that is here now keeps its record.
                    let key = KarmaCommand.full(client)
                    let found = try await store.compareAndSet(
                        key,
                        from: record.value,
                        to: nil,
                        expiresIn: nil
                    )
                    if found == .same { count += 1 }
                }
                return count
            }
            StandardOutput.write("forgotten: \(removed ?? 0)")
        }
    }

    // MARK: The store

    private static func full(_ client: Bytes) -> Bytes {
        Bytes(octets: Array("\(KarmaRecord.plugin)/".utf8) + client.octets)
    }

    private static func key(_ text: String) throws -> Bytes {
        let address = text.hasSuffix("/64") ? String(text.dropLast(3)) : text
        guard let address = IPAddress(parsing: address) else {
            throw ValidationError("\(text) is no IP address")
        }
        return KarmaRecord.key(address)
    }

    private static func records(
        _ place: StorePlace
    ) throws -> [(client: Bytes, record: KarmaRecord)] {
        let prefix = Self.full("")
        let most = Self.most
        let entries = try place.perform(for: "karma") {
            try await $0.scan(prefix: prefix, limit: most)
        }
        var found: [(client: Bytes, record: KarmaRecord)] = []
        for entry in entries ?? [] {
            guard let record = KarmaRecord(entry.value) else { continue }
            found.append(
                (Bytes(octets: Array(entry.key.octets.dropFirst(prefix.octets.count))), record)
            )
        }
        return found.sorted {
            $0.record.history != $1.record.history
                ? $0.record.history < $1.record.history
                : $0.client.octets.lexicographicallyPrecedes($1.client.octets)
        }
    }

    /// Changes the records of clients; `nil` from `change`: there is none to change.
    private static func change(
        _ place: StorePlace,
        _ clients: [String],
        _ word: String,
        _ change: @escaping @Sendable (KarmaRecord?, Int64) -> KarmaRecord?
    ) throws {
        let keys = try clients.map { try Self.key($0) }
        let now = UnixTime.milliseconds / 1_000
        let changed = try place.perform(for: "karma") { store in
            var changed: [Bool] = []
            for key in keys {
                var isThere = false
                try await store.update(Self.full(key)) { value in
                    let record = change(value.flatMap { KarmaRecord($0) }, now)
                    isThere = record != nil
                    return StoreChange(
                        to: record?.value ?? value,
                        expiresIn: record?.lifetime(KarmaRecord.usualLifetime, at: now)
                    )
                }
                changed.append(isThere)
            }
            return changed
        }
        guard let changed else {
            StandardError.write("gatepost karma: nothing was ever stored; a worker makes the store")
            throw StoreCommand.notThere
        }
        for (index, key) in keys.enumerated() {
            if changed[index] {
                StandardOutput.write("\(word): \(key)")
            } else {
                StandardError.write("gatepost karma: \(key) is not known")
            }
        }
        if !changed.allSatisfy(\.self) { throw StoreCommand.notThere }
    }

    private static func print(_ records: [(client: Bytes, record: KarmaRecord)]) {
        guard !records.isEmpty else { return StandardOutput.write("no client is known") }
        let now = UnixTime.milliseconds / 1_000
        let rows = records.map { client, record in
            let days = record.penaltyDays(at: now)
            return [
                "\(client)", "\(record.history)", "\(record.naughty)", "\(record.nice)",
                "\(record.connects)", "\(max(0, now - record.seen) / 86_400) d ago",
                days == 0 ? "-" : "\(days) d left",
            ]
        }
        let titles = ["CLIENT", "HISTORY", "NAUGHTY", "NICE", "SESSIONS", "SEEN", "PENALTY"]
        for line in TextTable.lines([titles] + rows) { StandardOutput.write(line) }
    }
}
