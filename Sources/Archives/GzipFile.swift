internal import CArchive

/// Makes files of gzip (RFC 1952).
package enum GzipFile {
    /// The octets as a file of gzip, without a name and a time, so the same octets make the same file.
    ///
    /// - Returns: `nil` if there is no memory for it.
    package static func octets(of content: [UInt8]) -> [UInt8]? {
        guard let archive = archive_write_new() else { return nil }
        defer { archive_write_free(archive) }
        // What does not shrink becomes longer: 5 octets a block, and the header.
        let room = content.count + content.count / 1_000 + 4_096
        var isDone = false
        let file = [UInt8](unsafeUninitializedCapacity: room) { buffer, initialized in
            var used = 0
            isDone =
                archive_write_add_filter_gzip(archive) == ARCHIVE_OK
                && archive_write_set_format_raw(archive) == ARCHIVE_OK
                && archive_write_set_filter_option(archive, "gzip", "timestamp", nil) == ARCHIVE_OK
                && archive_write_set_bytes_per_block(archive, 0) == ARCHIVE_OK
                && archive_write_open_memory(archive, buffer.baseAddress, room, &used) == ARCHIVE_OK
                && Self.write(content, to: archive)
                && archive_write_close(archive) == ARCHIVE_OK
            initialized = isDone ? used : 0
        }
        return isDone ? file : nil
    }

    private static func write(_ content: [UInt8], to archive: OpaquePointer) -> Bool {
        guard let entry = archive_entry_new() else { return false }
        defer { archive_entry_free(entry) }
        archive_entry_set_filetype(entry, 0o100_000)  // AE_IFREG
        guard archive_write_header(archive, entry) == ARCHIVE_OK else { return false }
        return content.withUnsafeBytes { buffer in
            archive_write_data(archive, buffer.baseAddress, buffer.count) == buffer.count
        }
    }
}
