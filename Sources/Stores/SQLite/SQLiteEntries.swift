import PolicyProtocol
import SQLite

/// The entries in an open database.
///
/// One thread at a time may use it.
final class SQLiteEntries {
    /// The most entries that have expired or are renewed with one call.
    private static let batch: Int64 = 200
    /// How long nothing is looked for after nothing more was found.
    private static let sweepPause: Duration = .seconds(10)

    private let connection: SQLiteConnection
    private let begin: SQLiteStatement
    private let commit: SQLiteStatement
    private let rollback: SQLiteStatement
    private let select: SQLiteStatement
    private let upsert: SQLiteStatement
    private let replace: SQLiteStatement
    private let remove: SQLiteStatement
    private let removeLeft: SQLiteStatement
    private let scanRange: SQLiteStatement
    private let scanRest: SQLiteStatement
    private let removeExpired: SQLiteStatement
    private let selectFuture: SQLiteStatement
    private let setExpiry: SQLiteStatement
    private var sweepsFrom = ContinuousClock.now
    /// The key from which entries are to be renewed; `nil`: none are.
    private var renewsFrom: [UInt8]? = []

    init(_ connection: SQLiteConnection) throws(SQLiteFailure) {
        self.connection = connection
        let isThere = "(expiry IS NULL OR expiry > ?1)"
        let found = "SELECT key, value, expiry FROM entries WHERE \(isThere) AND key >= ?2"
        self.begin = try connection.prepare("BEGIN IMMEDIATE")
        self.commit = try connection.prepare("COMMIT")
        self.rollback = try connection.prepare("ROLLBACK")
        self.select = try connection.prepare(
            "SELECT value, expiry FROM entries WHERE \(isThere) AND key = ?2"
        )
        self.upsert = try connection.prepare("REPLACE INTO entries VALUES (?1, ?2, ?3, ?4)")
        self.replace = try connection.prepare("UPDATE entries SET value = ?1 WHERE key = ?2")
        self.remove = try connection.prepare("DELETE FROM entries WHERE key = ?1")
        self.removeLeft = try connection.prepare(
            "DELETE FROM entries WHERE \(isThere) AND key = ?2"
        )
        self.scanRange = try connection.prepare("\(found) AND key < ?4 LIMIT ?3")
        self.scanRest = try connection.prepare("\(found) LIMIT ?3")
        self.removeExpired = try connection.prepare(
            "DELETE FROM entries WHERE key IN "
                + "(SELECT key FROM entries WHERE expiry <= ?1 ORDER BY expiry LIMIT ?2)"
        )
        self.selectFuture = try connection.prepare(
            "SELECT key, expiry > ?1 + lifetime, lifetime FROM entries WHERE key >= ?2 ORDER BY key LIMIT ?3"
        )
        self.setExpiry = try connection.prepare("UPDATE entries SET expiry = ?1 WHERE key = ?2")
    }

    /// Whether the path means another file now, or none.
    var hasMoved: Bool { self.connection.hasMoved }

    func entry(_ key: Bytes, _ now: Int64) throws(SQLiteFailure) -> StoreEntry? {
        try self.select.first([.integer(now), .octets(key.octets)]) { row in
            StoreEntry(key: key, row.octets(0), row.integer(1), now)
        }
    }

    func set(
        _ key: Bytes,
        to value: Bytes,
        _ lifetime: Duration?,
        _ now: Int64
    ) throws(SQLiteFailure) {
        let expiry = lifetime.map { EntryExpiry($0, now: now) }
        guard expiry?.lifetime != 0 else { return try self.remove.run([.octets(key.octets)]) }
        try self.upsert.run([
            .octets(key.octets), .octets(value.octets), .integer(expiry?.time),
            .integer(expiry?.lifetime),
        ])
    }

    /// Adds to a counter; inside a transaction.
    func add(_ amount: Int64, to key: Bytes, _ lifetime: Duration?, _ now: Int64) throws -> Int64 {
        guard let value = try self.entry(key, now)?.value else {
            try self.set(key, to: Bytes("\(amount)"), lifetime, now)
            return amount
        }
        let sum = try StoreCounter.sum(value.octets, amount)
        try self.replace.run([.octets(Array("\(sum)".utf8)), .octets(key.octets)])
        return sum
    }

    func delete(_ key: Bytes, _ now: Int64) throws(SQLiteFailure) -> Bool {
        try self.removeLeft.run([.integer(now), .octets(key.octets)])
        return self.connection.changes > 0
    }

    func scan(_ prefix: Bytes, _ limit: Int, _ now: Int64) throws(SQLiteFailure) -> [StoreEntry] {
        var found: [StoreEntry] = []
        let values: [SQLiteValue] = [
            .integer(now), .octets(prefix.octets), .integer(Int64(max(0, limit))),
        ]
        let end = Self.end(of: prefix)
        let statement = end == nil ? self.scanRest : self.scanRange
        try statement.forEach(values + (end.map { [.octets($0)] } ?? [])) { row in
            let key = Bytes(octets: row.octets(0))
            found.append(StoreEntry(key: key, row.octets(1), row.integer(2), now))
        }
        return found
    }

    /// The first key behind those that begin with `prefix`; `nil`: there is none.
    private static func end(of prefix: Bytes) -> [UInt8]? {
        var end = prefix.octets
        while let last = end.popLast() {
            guard last == .max else { return end + [last + 1] }
        }
        return nil
    }

    /// Does several things at once or nothing of them; no other process changes anything meanwhile.
    func transaction<Value>(_ body: () throws -> Value) throws -> Value {
        try self.begin.run([])
        do {
            let value = try body()
            try self.commit.run([])
            return value
        } catch {
            // SQLite may have done it already.
            try? self.rollback.run([])
            throw error
        }
    }

    /// Removes some of the entries that have expired, now and then.
    func sweep(_ now: Int64) throws(SQLiteFailure) {
        guard self.sweepsFrom <= .now else { return }
        try self.removeExpired.run([.integer(now), .integer(Self.batch)])
        if self.connection.changes < Self.batch { self.sweepsFrom = .now + Self.sweepPause }
    }

    /// The clock was set back: what was set later than now gets its lifetime anew.
    func beginRenewal(_ now: Int64) { self.renewsFrom = [] }

    /// Goes on with that, some entries a call.
    func renew(_ now: Int64) throws {
        guard let start = self.renewsFrom else { return }
        var last: [UInt8]?
        var count: Int64 = 0
        var future: [(key: [UInt8], lifetime: Int64)] = []
        try self.selectFuture.forEach([
            .integer(now), .octets(start), .integer(Self.batch),
        ]) { row in
            count += 1
            last = row.octets(0)
            guard row.integer(1) == 1, let lifetime = row.integer(2) else { return }
            future.append((row.octets(0), lifetime))
        }
        if !future.isEmpty {
            try self.transaction {
                for (key, lifetime) in future {
                    try self.setExpiry.run([.integer(now + lifetime), .octets(key)])
                }
            }
        }
        self.renewsFrom = count < Self.batch ? nil : last.map { $0 + [0] }
    }
}

extension StoreEntry {
    fileprivate init(key: Bytes, _ value: [UInt8], _ expiry: Int64?, _ now: Int64) {
        let left = expiry.map { Duration.milliseconds($0 - now) }
        self.init(key: key, value: Bytes(octets: value), expiresIn: left)
    }
}
