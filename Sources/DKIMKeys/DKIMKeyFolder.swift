package import DKIM
package import DomainNames
internal import Glibc
internal import Octets
package import SignatureKeys
internal import System

/// What is wrong with the keys of a domain.
package struct DKIMKeyError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What is wrong, where, and what to do.
    package let description: String
    /// Whether it is that the key which is to be made is there already.
    package let isAboutExistingKey: Bool

    init(_ description: String, isAboutExistingKey: Bool = false) {
        self.description = description
        self.isAboutExistingKey = isAboutExistingKey
    }
}

/// The private keys with which a domain signs: the folder `dkim/DOMAIN` of the configuration.
///
/// Its file `selector` has a line a key: the selector, and the file of the key, which is `private` if the line
/// does not name one. Its calls block.
package struct DKIMKeyFolder: Sendable, Equatable {
    /// A line of `selector`.
    package struct Entry: Sendable, Equatable {
        package let domain: SigningDomain
        /// The path of the private key.
        package let path: String
    }

    /// The most keys of a domain.
    package static let maximumKeys = 4
    package static let selectorFile = "selector"
    package static let privateFile = "private"
    /// The most octets of a file.
    private static let maximumOctets = 65_536

    /// The folder itself, absolute.
    package let path: String
    /// The domain that signs.
    package let domain: DNSName

    package init(path: String, domain: DNSName) {
        self.path = path
        self.domain = domain
    }

    /// The keys that `selector` lists; none if there is no such file.
    package func entries() throws(DKIMKeyError) -> [Entry] {
        let file = "\(self.path)/\(Self.selectorFile)"
        guard access(file, F_OK) == 0 else { return [] }
        var entries: [Entry] = []
        let lines = String(decoding: try Self.content(of: file), as: UTF8.self)
            .split(omittingEmptySubsequences: false) { $0.isNewline }
        for (index, line) in lines.enumerated() {
            let words = line.prefix { $0 != "#" }.split { $0 == " " || $0 == "\t" }
            guard let selector = words.first else { continue }
            guard words.count <= 2,
                let domain = SigningDomain(
                    domain: Array(self.domain.text.utf8),
                    selector: Array(selector.utf8)
                )
            else {
                throw DKIMKeyError(
                    "\(file):\(index + 1): a line is a selector, and the file of its private key if that is not private"
                )
            }
            let name = words.count > 1 ? String(words[1]) : Self.privateFile
            entries.append(
                Entry(domain: domain, path: name.hasPrefix("/") ? name : "\(self.path)/\(name)")
            )
        }
        guard entries.count <= Self.maximumKeys else {
            throw DKIMKeyError("\(file): more than \(Self.maximumKeys) keys; remove the old ones")
        }
        return entries
    }

    /// Reads a private key.
    ///
    /// - Throws: If it cannot be used, or if users may read it that are not meant to.
    package static func key(at path: String) throws(DKIMKeyError) -> PrivateKey {
        var facts = stat()
        guard stat(path, &facts) == 0 else {
            throw DKIMKeyError("\(path): \(String(cString: strerror(errno)))")
        }
        guard facts.st_mode & (S_IROTH | S_IWOTH) == 0 else {
            throw DKIMKeyError(
                "\(path): every user can read or write this private key; chmod o-rw it"
            )
        }
        guard let key = PrivateKey(pem: try Self.content(of: path)) else {
            throw DKIMKeyError(
                "\(path) is no private key, RSA or Ed25519, in PEM without a password; make one with gatepost dkim genkey"
            )
        }
        guard key.kind != .rsa || 1_024...KeyRecord.maximumBits ~= key.bits else {
            throw DKIMKeyError(
                "\(path) has \(key.bits) bits; 1024 to \(KeyRecord.maximumBits) are allowed, take 2048"
            )
        }
        return key
    }

    private static func content(of path: String) throws(DKIMKeyError) -> [UInt8] {
        let octets: [UInt8]?
        do throws(SystemError) {
            octets = try Descriptor(reading: path).readAll(limit: Self.maximumOctets)
        } catch {
            throw DKIMKeyError("\(error)")
        }
        guard let octets else {
            throw DKIMKeyError("\(path) has more than \(Self.maximumOctets) octets")
        }
        return octets
    }
}

/// The folders of all domains, in the folders of control files.
package struct DKIMKeyFolders: Sendable {
    private let folders: [String]

    /// - Parameter directories: The folders that may have a folder `dkim`, best first.
    package init(_ directories: [String]) { self.folders = directories.map { "\($0)/dkim" } }

    /// Whether there is such a folder.
    package var isThere: Bool { self.folders.contains { access($0, F_OK) == 0 } }

    /// The folder of a domain; `nil` if it has none.
    ///
    /// If it `usesParents`, the folder of the nearest domain above it will do, which signs in its own name.
    package func folder(of domain: DNSName, usesParents: Bool) -> DKIMKeyFolder? {
        var name = domain.text[...]
        while name.contains(".") {
            for folder in self.folders {
                if let found = Self.folder("\(folder)/\(name)", String(name)) { return found }
            }
            guard usesParents, let dot = name.firstIndex(of: ".") else { return nil }
            name = name[name.index(after: dot)...]
        }
        return nil
    }

    /// Every folder of a domain.
    package var all: [DKIMKeyFolder] {
        self.folders.flatMap { folder in
            Self.names(in: folder).compactMap { Self.folder("\(folder)/\($0)", $0) }
        }
    }

    /// A folder with keys; where it is a link, the domain is the one that the link points at.
    private static func folder(_ path: String, _ name: String) -> DKIMKeyFolder? {
        guard access("\(path)/\(DKIMKeyFolder.selectorFile)", F_OK) == 0 else { return nil }
        var signs = name
        var target = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(path, &target, target.count)
        if count > 0 {
            let octets = target.prefix(count).map { UInt8(bitPattern: $0) }
            let text = String(decoding: octets, as: UTF8.self)
            signs = text.split(separator: "/").last.map { String($0) } ?? name
        }
        return DNSName(signs).map { DKIMKeyFolder(path: path, domain: $0) }
    }

    private static func names(in path: String) -> [String] {
        guard let folder = opendir(path) else { return [] }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { octets in
                String(decoding: octets.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }
}
