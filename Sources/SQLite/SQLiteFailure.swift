import CSQLite

/// What SQLite answered instead of doing it.
package struct SQLiteFailure: Error, Equatable, CustomStringConvertible {
    /// What a caller has to tell apart.
    package enum Kind: Sendable {
        /// Another connection holds a lock for longer than the busy timeout.
        case busy
        /// The disk, or the database by its own limit, is full.
        case full
        /// The file is damaged, no database, unreadable, or gone: this connection is of no more use.
        case file
        /// Everything else.
        case other
    }

    /// SQLite's extended result code.
    package let code: Int32
    /// SQLite's own words.
    package let message: String

    package init(code: Int32, message: String) {
        self.code = code
        self.message = message
    }

    package var kind: Kind {
        switch self.code & 0xFF {
        case SQLITE_BUSY, SQLITE_LOCKED: .busy
        case SQLITE_FULL: .full
        case SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_READONLY,
            SQLITE_PERM:
            .file
        default: .other
        }
    }

    package var description: String { "\(self.message) (SQLite \(self.code))" }
}
