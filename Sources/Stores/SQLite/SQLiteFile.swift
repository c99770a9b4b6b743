import Configuration
import SQLite
import System

/// The file of a ``SQLiteStore``: opened when it is first needed, and again after it was of no use.
struct SQLiteFile {
    /// How long a file that could not be opened is left alone, and how often it is looked at whether another one
    /// is in its place.
    private static let pause: Duration = .seconds(1)

    private let settings: SQLiteStore.Settings
    private var entries: SQLiteEntries?
    private var clock = EntryClock()
    /// The last failure to open it, and until when that is the answer to all calls.
    private var failure: (error: StoreError, until: ContinuousClock.Instant)?
    private var isClosed = false
    /// When it is looked at next whether the path still means this file.
    private var looksFrom = ContinuousClock.now

    init(_ settings: SQLiteStore.Settings) {
        self.settings = settings
    }

    mutating func close() {
        self.entries = nil
        self.isClosed = true
    }

    /// Does something with the entries.
    ///
    /// - Throws: ``StoreError``.
    mutating func perform<Value>(
        _ now: Int64,
        _ body: (SQLiteEntries, Int64) throws -> Value
    ) throws -> Value {
        let entries = try self.opened()
        do {
            if self.clock.isSetBack(now) { entries.beginRenewal(now) }
            try entries.renew(now)
            return try body(entries, now)
        } catch let failure as SQLiteFailure {
            // What is wrong may be mended meanwhile: it is opened again.
            if failure.kind == .file { self.entries = nil }
            throw self.error(failure)
        }
    }

    private mutating func opened() throws(StoreError) -> SQLiteEntries {
        if let entries {
            guard self.looksFrom <= .now else { return entries }
            self.looksFrom = .now + Self.pause
            guard entries.hasMoved else { return entries }
            self.entries = nil
        }
        guard !self.isClosed else { throw self.error("the store was closed") }
        if let failure, failure.until > .now { throw failure.error }
        do {
            let entries = try self.open()
            self.entries = entries
            self.failure = nil
            return entries
        } catch {
            let error =
                switch error {
                case let error as SQLiteFailure: self.error(error)
                case let error as StoreError: error
                default: self.error("\(error)")
                }
            self.failure = (error, .now + Self.pause)
            throw error
        }
    }

    private func open() throws -> SQLiteEntries {
        let path = self.settings.path
        if self.settings.isMade { try self.make() }
        let connection = try SQLiteConnection(path: path, isMade: self.settings.isMade)
        let milliseconds = self.settings.timeout.storeMilliseconds * 3 / 4
        connection.setBusyTimeout(milliseconds: Int32(clamping: milliseconds))
        try SQLiteSchema.prepare(connection, path, maximumOctets: self.settings.maximumOctets)
        return try SQLiteEntries(connection)
    }

    /// Makes the file, and its folder, for this user alone; what is there stays as it is.
    private func make() throws {
        let path = self.settings.path
        try Folders.make(FilePath.parent(of: path), mode: 0o700)
        // A file that is there is not opened here: to close it would end SQLite's locks on it.
        try Files.makeIfMissing(path, mode: 0o600)
    }

    private func error(_ failure: SQLiteFailure) -> StoreError {
        StoreError(
            failure.kind == .full ? .full : .unavailable,
            "\(self.settings.path): \(failure)"
        )
    }

    private func error(_ reason: String) -> StoreError {
        StoreError(.unavailable, "\(self.settings.path): \(reason)")
    }
}
