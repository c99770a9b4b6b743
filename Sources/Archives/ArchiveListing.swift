internal import CArchive

/// What is in an archive, and in the archives in it.
///
/// libarchive reads zip, 7z, rar, tar, cab, lha and ISO images, and gzip, bzip2, xz, lzma, zstd and compress around
/// them. No other program is started, and no file is written. It takes time in proportion to what is unpacked:
/// for a thread that may wait.
package struct ArchiveListing: Sendable {
    /// How much is read.
    package struct Limits: Sendable, Hashable {
        /// How many archives within one another are opened: 1 opens none that is in another one.
        package var depth = 2
        /// The most names of all archives together.
        package var names = 2_000
        /// The most octets of archives in archives that are unpacked, all together.
        package var octets = 50_000_000

        /// The usual limits.
        package init() {}
    }

    /// What kept the listing from being whole.
    package enum Trouble: String, Sendable, Hashable {
        /// An archive is in too many others.
        case deep
        /// Too many names, or too much to unpack, or too late.
        case large
        /// Names or content are encrypted.
        case encrypted
        /// An archive is not as it should be.
        case damaged
    }

    /// The names of files and folders, as they stand there, with their folders.
    package private(set) var names: [[UInt8]] = []
    /// What kept the listing from being whole.
    package private(set) var troubles: Set<Trouble> = []

    private let limits: Limits
    private let deadline: ContinuousClock.Instant
    private var unpacked = 0

    /// Lists an archive.
    ///
    /// - Parameters:
    ///   - octets: What may be one.
    ///   - limits: How much is read.
    ///   - deadline: When it must be over.
    /// - Returns: `nil` if it is no archive.
    package static func of(
        _ octets: [UInt8],
        limits: Limits = Limits(),
        until deadline: ContinuousClock.Instant
    ) -> Self? {
        let locale = gatepost_begin_utf8()
        defer { gatepost_end_utf8(locale) }
        var listing = Self(limits: limits, deadline: deadline)
        return listing.read(octets, depth: 1) ? listing : nil
    }

    private init(limits: Limits, deadline: ContinuousClock.Instant) {
        self.limits = limits
        self.deadline = deadline
    }

    /// - Returns: Whether it is an archive.
    private mutating func read(_ octets: [UInt8], depth: Int) -> Bool {
        guard !octets.isEmpty else { return false }
        return octets.withUnsafeBytes { buffer in
            var source = gatepost_source()
            source.octets = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
            source.count = buffer.count
            let left = max(.zero, self.deadline - .now)
            source.deadline = gatepost_monotonic() + Int64(left / .nanoseconds(1))
            return withUnsafeMutablePointer(to: &source) { self.read($0, depth: depth) }
        }
    }

    private mutating func read(
        _ source: UnsafeMutablePointer<gatepost_source>,
        depth: Int
    ) -> Bool {
        guard let archive = archive_read_new() else { return false }
        defer { archive_read_free(archive) }
        for support in [
            archive_read_support_filter_gzip, archive_read_support_filter_bzip2,
            archive_read_support_filter_xz, archive_read_support_filter_lzma,
            archive_read_support_filter_zstd, archive_read_support_filter_compress,
            archive_read_support_format_zip, archive_read_support_format_7zip,
            archive_read_support_format_rar, archive_read_support_format_rar5,
            archive_read_support_format_tar, archive_read_support_format_cab,
            archive_read_support_format_lha, archive_read_support_format_iso9660,
        ] { _ = support(archive) }
        guard gatepost_open(archive, source) == ARCHIVE_OK else { return false }
        // The last one counted is the source. What is packed twice grows without the source's being asked.
        guard archive_filter_count(archive) <= 2 else {
            self.troubles.insert(.deep)
            return true
        }
        let wasDamaged = self.troubles.contains(.damaged)
        let isArchive = self.readEntries(archive, depth: depth)
        if isArchive, source.pointee.is_late == 1 {
            // It looked like damage, and was the end of the time.
            if !wasDamaged { self.troubles.remove(.damaged) }
            self.troubles.insert(.large)
        }
        return isArchive
    }

    private mutating func readEntries(_ archive: OpaquePointer, depth: Int) -> Bool {
        var isFirst = true
        while true {
            var entry: OpaquePointer?
            let code = archive_read_next_header(archive, &entry)
            if code == ARCHIVE_EOF { return true }
            guard code == ARCHIVE_OK || code == ARCHIVE_WARN, let entry else {
                if isFirst, archive_format(archive) == 0 { return false }
                let isEncrypted = archive_read_has_encrypted_entries(archive) == 1
                self.troubles.insert(isEncrypted ? .encrypted : .damaged)
                return true
            }
            isFirst = false
            guard self.names.count < self.limits.names, ContinuousClock.now < self.deadline else {
                self.troubles.insert(.large)
                return true
            }
            guard let name = Self.name(entry) else {
                self.troubles.insert(.damaged)
                continue
            }
            self.names.append(name)
            if archive_entry_is_encrypted(entry) == 1 {
                self.troubles.insert(.encrypted)
            } else if Self.isArchive(name) {
                self.readInner(archive, depth: depth)
            }
        }
    }

    /// The name of a file: its last 1,000 octets, with U+FFFD for what is no UTF-8; `nil` if it has none.
    private static func name(_ entry: OpaquePointer) -> [UInt8]? {
        let text = archive_entry_pathname_utf8(entry) ?? archive_entry_pathname(entry)
        return text.map { Array(String(cString: $0).utf8.suffix(1_000)) }
    }

    /// Whether a file in an archive has the name of one.
    private static func isArchive(_ name: [UInt8]) -> Bool {
        let text = String(decoding: name, as: UTF8.self).lowercased()
        return [
            ".zip", ".7z", ".rar", ".tar", ".tgz", ".gz", ".tbz", ".bz2", ".txz", ".xz", ".zst",
            ".cab", ".lzh", ".lha", ".iso", ".img", ".jar", ".docx", ".xlsx", ".pptx", ".docm",
            ".xlsm", ".pptm",
        ].contains { text.hasSuffix($0) }
    }

    /// Unpacks the file at which `archive` stands, and lists it if it is an archive.
    private mutating func readInner(_ archive: OpaquePointer, depth: Int) {
        guard depth < self.limits.depth else {
            self.troubles.insert(.deep)
            return
        }
        var octets: [UInt8] = []
        let room = 65_536
        while true {
            var count = 0
            let chunk = [UInt8](unsafeUninitializedCapacity: room) { buffer, initialized in
                count = archive_read_data(archive, buffer.baseAddress, room)
                initialized = max(0, count)
            }
            guard count >= 0 else {
                self.troubles.insert(.damaged)
                return
            }
            guard count > 0 else { break }
            octets += chunk
            self.unpacked += count
            guard self.unpacked <= self.limits.octets, ContinuousClock.now < self.deadline else {
                self.troubles.insert(.large)
                return
            }
        }
        _ = self.read(octets, depth: depth + 1)
    }
}
