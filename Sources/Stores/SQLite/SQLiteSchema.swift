import SQLite
import System

/// The table of a ``SQLiteStore``.
enum SQLiteSchema {
    /// The version of the table, in the database's `user_version`.
    static let version: Int64 = 1

    private static let tables = """
        CREATE TABLE entries (
            key BLOB PRIMARY KEY NOT NULL,
            value BLOB NOT NULL,
            expiry INTEGER,    -- in Unix milliseconds; NULL: never
            lifetime INTEGER   -- in milliseconds
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX entries_expiry ON entries (expiry) WHERE expiry IS NOT NULL;
        PRAGMA user_version = \(Self.version);
        """

    /// Sets the connection up, and makes the table in an empty database.
    ///
    /// - Throws: `SQLiteFailure`; ``StoreError`` if the database is none of ours.
    static func prepare(
        _ connection: SQLiteConnection,
        _ path: String,
        maximumOctets: Int64
    ) throws {
        let version = try self.versionAtOnce(connection, path)
        try self.useLog(connection)
        try connection.execute(
            """
            PRAGMA synchronous = NORMAL;
            PRAGMA journal_size_limit = 16777216;
            PRAGMA trusted_schema = OFF;
            """
        )
        let page = max(512, try connection.integer("PRAGMA page_size") ?? 4_096)
        try connection.execute("PRAGMA max_page_count = \(max(1, maximumOctets / page))")
        guard version == 0 else { return }
        try connection.execute("BEGIN IMMEDIATE")
        do {
            // Another process may have been first.
            if try self.version(connection, path) == 0 { try connection.execute(self.tables) }
            try connection.execute("COMMIT")
        } catch {
            try? connection.execute("ROLLBACK")
            throw error
        }
    }

    /// The version as of one moment: another process may be making the table.
    private static func versionAtOnce(
        _ connection: SQLiteConnection,
        _ path: String
    ) throws -> Int64 {
        try connection.execute("BEGIN")
        let version = Result { try self.version(connection, path) }
        try connection.execute("COMMIT")
        return try version.get()
    }

    /// 0: the database is empty.
    ///
    /// Called inside a transaction.
    private static func version(_ connection: SQLiteConnection, _ path: String) throws -> Int64 {
        let version = try connection.integer("PRAGMA user_version") ?? 0
        guard version <= self.version else {
            throw StoreError(
                .unavailable,
                "\(path): a newer Gatepost made it (version \(version) of its tables; this program "
                    + "knows \(self.version)); install that one, or name another file"
            )
        }
        let query =
            version == 0
            ? "SELECT count(*) = 0 FROM sqlite_schema"
            : "SELECT count(*) = 2 FROM pragma_table_info('entries') WHERE name IN ('key', 'expiry')"
        guard try connection.integer(query) == 1 else {
            throw StoreError(
                .unavailable,
                "\(path): it is the database of another program; name another file"
            )
        }
        return version
    }

    /// Has changes go to a log beside the file: readers then wait for no writer.
    private static func useLog(_ connection: SQLiteConnection) throws {
        // For the change of the mode SQLite waits for no lock.
        let end = ContinuousClock.now + .seconds(1)
        while true {
            do throws(SQLiteFailure) {
                let mode = try connection.text("PRAGMA journal_mode = WAL")
                guard mode == "wal" else {
                    throw SQLiteFailure(code: 1, message: "no write-ahead log here (\(mode ?? ""))")
                }
                return
            } catch {
                guard error.kind == .busy, .now < end else { throw error }
                Machine.sleep(milliseconds: 10)
            }
        }
    }
}
