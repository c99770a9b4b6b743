import DKIM
import DKIMKeys
import Glibc
import PolicyKit
import SignatureKeys
import Synchronization

/// The keys of the domains that sign, read when they are needed.
///
/// A key that was read is kept as long as its file stays the same. Its calls block.
final class SigningKeys: Sendable {
    /// A key, and in whose name it signs.
    struct Key: Sendable {
        let domain: SigningDomain
        let key: PrivateKey
    }

    /// What tells that a file is the one that was read.
    private struct FileFacts: Equatable {
        let device: dev_t
        let inode: ino_t
        let size: off_t
        let seconds: Int
        let nanoseconds: Int
        let mode: mode_t

        init?(_ path: String) {
            var facts = stat()
            guard stat(path, &facts) == 0 else { return nil }
            self.device = facts.st_dev
            self.inode = facts.st_ino
            self.size = facts.st_size
            self.seconds = facts.st_mtim.tv_sec
            self.nanoseconds = facts.st_mtim.tv_nsec
            self.mode = facts.st_mode
        }
    }

    /// The most keys that are kept.
    private static let maximumKept = 10_000

    private let folders: DKIMKeyFolders
    private let kept = Mutex<[String: (FileFacts, PrivateKey)]>([:])

    init(_ folders: DKIMKeyFolders) { self.folders = folders }

    /// The keys for mail of an author in `domain`: its own, or those of the nearest domain above it.
    ///
    /// - Returns: None if these domains have no keys.
    /// - Throws: ``PluginError`` if one of them cannot be used.
    func keys(for domain: DNSName) throws(PluginError) -> [Key] {
        guard let folder = self.folders.folder(of: domain, usesParents: true) else { return [] }
        do throws(DKIMKeyError) {
            var keys: [Key] = []
            for entry in try folder.entries() {
                keys.append(Key(domain: entry.domain, key: try self.key(at: entry.path)))
            }
            return keys
        } catch {
            throw PluginError(error.description)
        }
    }

    private func key(at path: String) throws(DKIMKeyError) -> PrivateKey {
        let facts = FileFacts(path)
        if let facts, let (before, key) = self.kept.withLock({ $0[path] }), before == facts {
            return key
        }
        let key = try DKIMKeyFolder.key(at: path)
        if let facts {
            self.kept.withLock { kept in
                if kept.count >= Self.maximumKept { kept = [:] }
                kept[path] = (facts, key)
            }
        }
        return key
    }

    /// What is wrong with the keys of all domains.
    var problems: [String] {
        var problems: [String] = []
        for folder in self.folders.all {
            do throws(DKIMKeyError) {
                for entry in try folder.entries() {
                    do throws(DKIMKeyError) {
                        _ = try self.key(at: entry.path)
                    } catch {
                        problems.append(error.description)
                    }
                }
            } catch {
                problems.append(error.description)
            }
        }
        return problems
    }
}
