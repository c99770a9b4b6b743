import CSQLite

/// A connection to a database in a file.
///
/// One thread at a time may use it and its statements.
package final class SQLiteConnection {
    private let handle: OpaquePointer

    /// Opens the database `path`; with `isMade` the file is made if it is not there.
    ///
    /// SQLite looks into the file only at the first statement.
    package init(path: String, isMade: Bool) throws(SQLiteFailure) {
        var handle: OpaquePointer?
        let flags =
            SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
            | (isMade ? SQLITE_OPEN_CREATE : 0)
        let code = sqlite3_open_v2(path, &handle, flags, nil)
        guard code == SQLITE_OK, let handle else {
            let message = handle.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            sqlite3_close_v2(handle)
            throw SQLiteFailure(code: code, message: message)
        }
        self.handle = handle
    }

    // Waits for the end of statements that are still there.
    deinit { sqlite3_close_v2(self.handle) }

    /// How long a statement waits for the locks of other connections.
    package func setBusyTimeout(milliseconds: Int32) {
        sqlite3_busy_timeout(self.handle, milliseconds)
    }

    /// How many rows the last statement inserted, changed or removed.
    package var changes: Int { Int(sqlite3_changes64(self.handle)) }

    /// Whether the path of the database means another file now, or none.
    package var hasMoved: Bool {
        var hasMoved: Int32 = 0
        let code = sqlite3_file_control(self.handle, nil, SQLITE_FCNTL_HAS_MOVED, &hasMoved)
        return code == SQLITE_OK && hasMoved != 0
    }

    /// Does a statement that has no result or whose result does not matter.
    package func execute(_ sql: String) throws(SQLiteFailure) {
        let code = sqlite3_exec(self.handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw self.failure(code) }
    }

    /// The first value of a statement's first row; `nil` if there is none, or if it is no text.
    package func text(_ sql: String) throws(SQLiteFailure) -> String? {
        try self.prepare(sql).first([]) { row in row.text(0) } ?? nil
    }

    /// The same for an integer.
    package func integer(_ sql: String) throws(SQLiteFailure) -> Int64? {
        try self.prepare(sql).first([]) { row in row.integer(0) } ?? nil
    }

    /// Compiles a statement, to run it many times.
    package func prepare(_ sql: String) throws(SQLiteFailure) -> SQLiteStatement {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(
            self.handle,
            sql,
            -1,
            UInt32(SQLITE_PREPARE_PERSISTENT),
            &statement,
            nil
        )
        guard code == SQLITE_OK, let statement else { throw self.failure(code) }
        return SQLiteStatement(statement, of: self)
    }

    fileprivate func failure(_ code: Int32) -> SQLiteFailure {
        SQLiteFailure(code: code, message: String(cString: sqlite3_errmsg(self.handle)))
    }
}

/// A value that a statement is given.
package enum SQLiteValue {
    case octets([UInt8])
    case integer(Int64?)
}

/// A compiled statement.
package final class SQLiteStatement {
    private let handle: OpaquePointer
    private let connection: SQLiteConnection

    fileprivate init(_ handle: OpaquePointer, of connection: SQLiteConnection) {
        self.handle = handle
        self.connection = connection
    }

    deinit { sqlite3_finalize(self.handle) }

    /// Runs it to its end.
    package func run(_ values: [SQLiteValue]) throws(SQLiteFailure) {
        try self.forEach(values) { _ in }
    }

    /// Runs it to its first row.
    ///
    /// - Returns: What `body` makes of the row; `nil` if there is none.
    package func first<Value>(
        _ values: [SQLiteValue],
        _ body: (borrowing SQLiteRow) -> Value
    ) throws(SQLiteFailure) -> Value? {
        defer { self.reset() }
        try self.bind(values)
        return try self.step() ? body(SQLiteRow(statement: self.handle)) : nil
    }

    /// Runs it, and `body` with each row.
    package func forEach(
        _ values: [SQLiteValue],
        _ body: (borrowing SQLiteRow) -> Void
    ) throws(SQLiteFailure) {
        defer { self.reset() }
        try self.bind(values)
        while try self.step() { body(SQLiteRow(statement: self.handle)) }
    }

    private func step() throws(SQLiteFailure) -> Bool {
        let code = sqlite3_step(self.handle)
        switch code {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default: throw self.connection.failure(code)
        }
    }

    private func bind(_ values: [SQLiteValue]) throws(SQLiteFailure) {
        for (index, value) in zip(Int32(1)..., values) {
            let code =
                switch value {
                case .octets(let octets):
                    octets.withUnsafeBytes {
                        gatepost_bind_octets(self.handle, index, $0.baseAddress, Int32($0.count))
                    }
                case .integer(let number?): sqlite3_bind_int64(self.handle, index, number)
                case .integer(nil): sqlite3_bind_null(self.handle, index)
                }
            guard code == SQLITE_OK else { throw self.connection.failure(code) }
        }
    }

    private func reset() {
        sqlite3_reset(self.handle)
        sqlite3_clear_bindings(self.handle)
    }
}

/// A row of a result, valid in the function that it is given to.
package struct SQLiteRow: ~Copyable {
    fileprivate let statement: OpaquePointer

    /// The octets of a column, also of a text; none for NULL.
    package func octets(_ column: Int32) -> [UInt8] {
        guard let start = sqlite3_column_blob(self.statement, column) else { return [] }
        let count = Int(sqlite3_column_bytes(self.statement, column))
        return Array(UnsafeRawBufferPointer(start: start, count: count))
    }

    /// `nil` for NULL.
    package func integer(_ column: Int32) -> Int64? {
        guard sqlite3_column_type(self.statement, column) != SQLITE_NULL else { return nil }
        return sqlite3_column_int64(self.statement, column)
    }

    /// `nil` for NULL.
    package func text(_ column: Int32) -> String? {
        sqlite3_column_text(self.statement, column).map { String(cString: $0) }
    }
}
