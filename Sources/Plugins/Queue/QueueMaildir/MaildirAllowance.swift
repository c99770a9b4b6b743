import Glibc
import Synchronization

/// How many Maildirs may be made below one folder.
///
/// Where recipients are whatever a client writes, each name would be a folder that stays. The
/// folders are counted on the disk, because other workers make some and the operator removes some:
/// at first, after every ``recountAfter`` new ones, and at the limit every ``recountEvery``.
///
/// May be used from any thread; blocks.
final class MaildirAllowance: Sendable {
    static let recountAfter = 64
    static let recountEvery = Duration.seconds(10)

    private struct Count {
        /// Maildirs below the root, `nil` if they have not been counted.
        var maildirs: Int?
        var madeSince = 0
        var countedAt = ContinuousClock.now
    }

    /// 0: none is made.
    private let maximum: Int
    private let depth: Int
    private let count = Mutex(Count())

    /// Maildirs lie `depth` folders below the root.
    init(maximum: Int, depth: Int) {
        self.maximum = maximum
        self.depth = depth
    }

    /// Takes one off, unless `maildir` is there already.
    func take(_ maildir: String, below root: String) throws(MaildirError) {
        guard access("\(maildir)/new", F_OK) != 0 else { return }
        guard self.maximum > 0 else {
            throw MaildirError("deliver into \(maildir)", code: MaildirError.noMaildir)
        }
        let isAllowed = self.count.withLock { count in
            let isAtLimit = (count.maildirs ?? 0) >= self.maximum
            let isOld = ContinuousClock.now - count.countedAt >= Self.recountEvery
            if count.maildirs == nil || count.madeSince >= Self.recountAfter || isAtLimit && isOld {
                let found = Self.folders(below: root, depth: self.depth, upTo: self.maximum)
                count = Count(maildirs: found)
            }
            guard let maildirs = count.maildirs, maildirs < self.maximum else { return false }
            count.maildirs = maildirs + 1
            count.madeSince += 1
            return true
        }
        guard isAllowed else {
            throw MaildirError("make \(maildir)", code: MaildirError.tooManyMaildirs)
        }
    }

    /// Folders that lie `depth` levels below `root`, counted up to `limit`.
    private static func folders(below root: String, depth: Int, upTo limit: Int) -> Int {
        guard let folder = opendir(root) else { return 0 }
        defer { closedir(folder) }
        var count = 0
        while count < limit, let entry = readdir(folder) {
            let kind = entry.pointee.d_type
            guard kind == DT_DIR || kind == DT_LNK || kind == DT_UNKNOWN else { continue }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name != ".", name != ".." else { continue }
            count +=
                depth <= 1
                ? 1 : self.folders(below: "\(root)/\(name)", depth: depth - 1, upTo: limit - count)
        }
        return count
    }
}
