import Glibc
import System

/// One message on its way into Maildirs: everything that blocks.
///
/// In two steps, so that nothing is seen before all of it is safe: ``stage(_:)`` writes a copy to
/// `tmp` and syncs it, ``commit(_:)`` gives all copies their names in `new` and syncs the folders.
/// If either fails, ``discard(_:)`` leaves nothing behind.
///
/// **Once only.** A name in `new` is made of the event's key, so a second try of the same event,
/// on another worker while the first one's fate is unknown, finds the name taken by the very same
/// octets and is done. Names are linked, never renamed over.
struct MaildirDelivery: Sendable {
    /// A copy: where it goes, and the lines that stand above the message in it.
    struct Copy: Sendable {
        let maildir: String
        /// The name in `new`, the same at each try.
        let name: String
        let trace: [UInt8]
    }

    let folders: MaildirFolders
    /// Header fields with their line ends.
    let header: [UInt8]
    let spoolPath: String
    let bodyOffset: Int64
    let fileSize: Int64
    let lineEnds: MaildirLineEnds
    let fileMode: mode_t
    /// 1 at the first try.
    let attempt: Int
    /// When it is too late to make anything visible.
    let deadline: ContinuousClock.Instant

    /// The name in `tmp`: of this process and this try alone.
    private func temporaryPath(_ copy: Copy) -> String {
        "\(copy.maildir)/tmp/\(copy.name).P\(getpid())A\(self.attempt)"
    }

    private func finalPath(_ copy: Copy) -> String { "\(copy.maildir)/new/\(copy.name)" }

    /// Writes the copy to `tmp` and waits until it is on stable storage.
    func stage(_ copy: Copy) throws(MaildirError) {
        try self.folders.prepare(copy.maildir)
        do {
            try self.write(copy)
        } catch let error where error.code == ENOENT {
            self.folders.forget(copy.maildir)
            try self.folders.prepare(copy.maildir)
            try self.write(copy)
        }
    }

    /// Makes all copies visible, and waits until that is on stable storage.
    ///
    /// - Throws: After which no copy is visible.
    func commit(_ copies: [Copy]) throws(MaildirError) {
        var made: [Copy] = []
        do {
            for copy in copies where try self.link(copy) {
                made.append(copy)
            }
            for maildir in Set(copies.map(\.maildir)) {
                try self.folders.syncNew(maildir)
            }
            try self.checkTime()
        } catch {
            for copy in made { unlink(self.finalPath(copy)) }
            throw error
        }
    }

    /// Removes what ``stage(_:)`` left in `tmp`.
    func discard(_ copies: [Copy]) {
        for copy in copies { unlink(self.temporaryPath(copy)) }
    }

    // MARK: Writing

    private func write(_ copy: Copy) throws(MaildirError) {
        let source = try self.openBody()
        let target = try self.create(self.temporaryPath(copy))
        if self.fileMode != 0o600 {
            try MaildirError.wrapping { () throws(SystemError) in
                try target.setMode(self.fileMode)
            }
        }
        try self.copyMessage(copy.trace, source, to: target)
        try MaildirError.wrapping { () throws(SystemError) in try target.sync() }
    }

    /// A new file; what has this name is a crashed try's, of a process that had our number.
    private func create(_ path: String) throws(MaildirError) -> Descriptor {
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
        return try MaildirError.wrapping { () throws(SystemError) in
            do throws(SystemError) {
                return try Descriptor(opening: path, flags, mode: self.fileMode)
            } catch {
                guard error.code == EEXIST else { throw error }
                unlink(path)
                return try Descriptor(opening: path, flags, mode: self.fileMode)
            }
        }
    }

    /// The body, `nil` if there is none to read.
    private func openBody() throws(MaildirError) -> Descriptor? {
        guard self.fileSize > self.bodyOffset else { return nil }
        return try MaildirError.wrapping { () throws(SystemError) in
            try Descriptor(reading: self.spoolPath, followsLinks: false)
        }
    }

    private func copyMessage(
        _ trace: [UInt8],
        _ source: borrowing Descriptor?,
        to target: borrowing Descriptor
    ) throws(MaildirError) {
        var buffer = trace
        buffer += self.header
        var used = buffer.count
        // Trace, header and a small body go out in one write.
        let body = Int(clamping: self.fileSize - self.bodyOffset)
        buffer += repeatElement(0, count: min(max(Self.bufferOctets - used, 4096), max(body, 1)))
        var offset = self.bodyOffset
        while true {
            while used < buffer.count, offset < self.fileSize {
                let count = try MaildirError.wrapping { () throws(SystemError) in
                    try source?.read(into: &buffer, from: used, at: offset) ?? 0
                }
                guard count > 0 else {
                    throw MaildirError(
                        "read \(self.spoolPath)",
                        code: MaildirError.messageTruncated
                    )
                }
                // More than was announced is not the message.
                let taken = Int(min(Int64(count), self.fileSize - offset))
                offset += Int64(taken)
                used += taken
            }
            let isLast = offset >= self.fileSize
            let held = self.lineEnds.convert(&buffer, count: &used, isLast: isLast)
            try MaildirError.wrapping { () throws(SystemError) in
                try target.write(buffer.span.extracting(0..<used))
            }
            guard !isLast else { return }
            if held { buffer[0] = 0x0D }
            used = held ? 1 : 0
        }
    }

    private static let bufferOctets = 65_536

    // MARK: Naming

    /// Gives the copy its name in `new`.
    ///
    /// - Returns: Whether this try did it; if not, an earlier one had.
    private func link(_ copy: Copy) throws(MaildirError) -> Bool {
        try self.checkTime()
        let temporary = self.temporaryPath(copy)
        let final = self.finalPath(copy)
        defer { unlink(temporary) }
        if self.attempt > 1, try self.wasSeen(copy) { return false }
        if Glibc.link(temporary, final) == 0 { return true }
        switch errno {
        case EEXIST:
            guard try Self.haveSameOctets(temporary, final) else {
                throw MaildirError("link \(final)", code: MaildirError.nameTaken)
            }
            return false

        case EPERM, ENOTSUP, ENOSYS, EMLINK:  // a file system without hard links
            guard access(final, F_OK) != 0 else {
                throw MaildirError("rename \(final)", code: MaildirError.nameTaken)
            }
            guard rename(temporary, final) == 0 else { throw MaildirError("rename \(final)") }
            return true

        default:
            throw MaildirError("link \(final)")
        }
    }

    /// Whether a mail reader has already moved the copy of an earlier try to `cur`.
    private func wasSeen(_ copy: Copy) throws(MaildirError) -> Bool {
        guard let folder = opendir("\(copy.maildir)/cur") else {
            throw MaildirError("opendir \(copy.maildir)/cur")
        }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == copy.name || name.hasPrefix("\(copy.name):") { return true }
        }
        return false
    }

    private static func haveSameOctets(
        _ path: String,
        _ other: String
    ) throws(MaildirError) -> Bool {
        try MaildirError.wrapping { () throws(SystemError) in
            let first = try Descriptor(reading: path, followsLinks: false)
            let second = try Descriptor(reading: other, followsLinks: false)
            var offset: Int64 = 0
            while true {
                let octets = try first.read(Self.bufferOctets, at: offset)
                guard try second.read(Self.bufferOctets, at: offset) == octets else { return false }
                if octets.isEmpty { return true }
                offset += Int64(octets.count)
            }
        }
    }

    private func checkTime() throws(MaildirError) {
        guard ContinuousClock.now < self.deadline else {
            throw MaildirError("deliver", code: MaildirError.deadlinePassed)
        }
    }
}

/// How lines end in the files.
enum MaildirLineEnds: String, Sendable, CaseIterable {
    /// As on the wire: the message octet for octet, and every signature still holds.
    case crlf
    /// As Unix mail readers have it, and qpsmtpd.
    case lf

    /// Drops the CR of each CRLF among the first `count` octets of `buffer`.
    ///
    /// - Returns: Whether the last octet was a CR whose LF may still come; it is not counted.
    func convert(_ buffer: inout [UInt8], count: inout Int, isLast: Bool) -> Bool {
        guard self == .lf else { return false }
        var kept = 0
        for index in 0..<count {
            let octet = buffer[index]
            if octet == 0x0D {
                if index + 1 == count, !isLast {
                    count = kept
                    return true
                }
                if index + 1 < count, buffer[index + 1] == 0x0A { continue }
            }
            buffer[kept] = octet
            kept += 1
        }
        count = kept
        return false
    }
}
