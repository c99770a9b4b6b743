import ArgumentParser
import PolicyProtocol
import Stores
import System

/// `gatepost store`: shows and corrects what plugins keep beyond a session.
struct StoreCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store",
        abstract: "Shows what plugins keep beyond a session, and removes entries.",
        discussion: """
            It works on the [store] of worker.toml while workers use it, as the worker's user. A key begins with the \
            plugin's name and a slash; octets that are not printable ASCII, and the backslash, stand as \\xHH, both in \
            what is printed and in what you write. Exit code 0: done; 1: a key is not there; 64: wrong arguments; \
            69: the store cannot be used, or it is in the workers' memory; 78: a mistake in worker.toml.
            """,
        subcommands: [List.self, Get.self, Forget.self]
    )

    /// The exit code where a key is not there.
    static let notThere = ExitCode(1)

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One line an entry, by key."
        )

        @OptionGroup var place: StorePlace

        @Option(help: "Only what this plugin keeps.")
        var plugin: String?

        @Option(help: "Only keys that begin so; with --plugin, behind its name.")
        var prefix = ""

        @Option(help: "The most entries.")
        var limit = 1_000

        func run() throws {
            guard self.limit > 0, self.limit <= 1_000_000 else {
                throw ValidationError("--limit must be from 1 to 1000000")
            }
            var prefix = try storeKey(self.prefix).octets
            if let plugin { prefix = Array("\(plugin)/".utf8) + prefix }
            let start = Bytes(octets: prefix)
            let limit = self.limit
            let found = try self.place.perform {
                try await $0.scan(prefix: start, limit: limit + 1)
            }
            let entries = (found ?? []).sorted {
                $0.key.octets.lexicographicallyPrecedes($1.key.octets)
            }
            guard !entries.isEmpty else { return StandardOutput.write("nothing is stored") }
            let rows = entries.prefix(limit).map(StoreRow.init)
            for line in TextTable.lines([StoreRow.titles] + rows.map(\.cells)) {
                StandardOutput.write(line)
            }
            if entries.count > limit {
                StandardError.write(
                    "gatepost store: there are more than \(limit) entries; name a --prefix or a higher --limit"
                )
            }
        }
    }

    struct Get: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "One entry, with its whole value."
        )

        @OptionGroup var place: StorePlace

        @Argument(help: "What `list` calls it.")
        var key: String

        func run() throws {
            let key = try storeKey(self.key)
            guard let entry = try self.place.perform({ try await $0.entry(key) }) ?? nil else {
                StandardError.write("gatepost store: \(key) is not there")
                throw StoreCommand.notThere
            }
            StandardOutput.write("key      \(entry.key)")
            StandardOutput.write("expires  \(StoreRow.time(entry.expiresIn))")
            StandardOutput.write("octets   \(entry.value.octets.count)")
            StandardOutput.write("value    \(entry.value)")
        }
    }

    struct Forget: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes entries; a counter begins at 0 again."
        )

        @OptionGroup var place: StorePlace

        @Argument(help: "What `list` calls them.")
        var keys: [String]

        func run() throws {
            let keys = try self.keys.map { try storeKey($0) }
            let removed = try self.place.perform { store in
                var removed: [Bool] = []
                for key in keys { removed.append(try await store.delete(key)) }
                return removed
            }
            for (index, key) in keys.enumerated() {
                if removed?[index] == true {
                    StandardOutput.write("forgotten: \(key)")
                } else {
                    StandardError.write("gatepost store: \(key) is not there")
                }
            }
            if removed?.allSatisfy(\.self) != true { throw StoreCommand.notThere }
        }
    }
}

/// Reads a key as this command prints it.
private func storeKey(_ text: String) throws -> Bytes {
    var octets: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let octet = rest.popFirst() {
        guard octet == UInt8(ascii: "\\") else {
            octets.append(octet)
            continue
        }
        let digits = String(decoding: rest.dropFirst().prefix(2), as: UTF8.self)
        guard rest.first == UInt8(ascii: "x"), digits.utf8.count == 2,
            let value = UInt8(digits, radix: 16)
        else {
            throw ValidationError("\(text): write a backslash as \\x5c, and any octet as \\xHH")
        }
        octets.append(value)
        rest = rest.dropFirst(3)
    }
    return Bytes(octets: octets)
}

/// A line of `gatepost store list`.
private struct StoreRow {
    static let titles = ["KEY", "EXPIRES", "OCTETS", "VALUE"]
    /// The most characters of a value.
    private static let width = 60

    let entry: StoreEntry

    init(_ entry: StoreEntry) { self.entry = entry }

    var cells: [String] {
        let value = "\(self.entry.value)"
        let shown =
            value.utf8.count > Self.width ? "\(value.prefix(Self.width))…" : value
        return [
            "\(self.entry.key)", Self.time(self.entry.expiresIn),
            "\(self.entry.value.octets.count)", shown,
        ]
    }

    /// `in 59 s`, `in 3 h`; the time that is left, rounded down to its largest unit.
    static func time(_ left: Duration?) -> String {
        guard let left else { return "never" }
        let seconds = max(0, left.components.seconds)
        let units: [(Int64, String)] = [(86_400, "d"), (3_600, "h"), (60, "min")]
        let unit = units.first { seconds >= 2 * $0.0 } ?? (1, "s")
        return "in \(seconds / unit.0) \(unit.1)"
    }
}
