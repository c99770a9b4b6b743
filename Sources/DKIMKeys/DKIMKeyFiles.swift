package import DKIM
internal import DomainNames
internal import Glibc
package import SignatureKeys
package import System

/// Writes a new key into a domain's folder.
///
/// The first one has the files `private`, `public` and `dns`, the others the selector in front of these names.
package struct DKIMKeyFiles {
    package let folder: DKIMKeyFolder
    package let domain: SigningDomain
    /// Who owns the private key; `nil`: who writes it.
    private let owner: ProcessUser?

    package init(_ folder: DKIMKeyFolder, _ domain: SigningDomain, owner: ProcessUser?) {
        self.folder = folder
        self.domain = domain
        self.owner = owner
    }

    /// Writes the key, and adds its line to `selector` last.
    ///
    /// - Returns: The record for the DNS, in the form of a zone file.
    /// - Throws: ``DKIMKeyError`` if the selector is there already, or a file cannot be written.
    package func write(_ key: PrivateKey) throws(DKIMKeyError) -> String {
        let entries = try self.folder.entries()
        guard !entries.contains(where: { $0.domain == self.domain }) else {
            throw DKIMKeyError(
                "\(self.folder.path)/selector has \(self.domain.selector) already; take another selector",
                isAboutExistingKey: true
            )
        }
        guard let pem = key.pem, let publicPEM = key.publicPEM, let record = self.record(key) else {
            throw DKIMKeyError("the key cannot be written")
        }
        let isFirst = entries.isEmpty && access("\(self.folder.path)/private", F_OK) != 0
        let prefix = isFirst ? "" : "\(self.domain.selector)."
        do throws(SystemError) {
            try Folders.make(self.folder.path, mode: 0o755)
            try self.write(pem, to: "\(prefix)private", mode: 0o600, isSecret: true)
            try self.write(publicPEM, to: "\(prefix)public", mode: 0o644)
            try self.write(Array("\(record)\n".utf8), to: "\(prefix)dns", mode: 0o644)
            try self.addLine(isFirst ? "" : " \(prefix)private")
        } catch {
            throw DKIMKeyError("\(error)")
        }
        return record
    }

    /// The record, as it stands in a zone file: strings have 255 octets at most (RFC 1035 §3.3.14).
    private func record(_ key: PrivateKey) -> String? {
        guard let text = KeyRecord.text(for: key) else { return nil }
        var strings: [Substring] = []
        var rest = text[...]
        while !rest.isEmpty {
            strings.append(rest.prefix(255))
            rest = rest.dropFirst(255)
        }
        let quoted = strings.map { "\"\($0)\"" }.joined(separator: " ")
        return "\(self.domain.keyName.text). IN TXT \(strings.count > 1 ? "( \(quoted) )" : quoted)"
    }

    private func write(
        _ octets: [UInt8],
        to name: String,
        mode: mode_t,
        isSecret: Bool = false
    ) throws(SystemError) {
        let path = "\(self.folder.path)/\(name)"
        let file = try Descriptor(opening: path, O_WRONLY | O_CREAT | O_EXCL, mode: mode)
        try file.setMode(mode)
        try file.write(octets.span)
        try file.sync()
        if isSecret, let owner = self.owner, ProcessUser.isRoot {
            guard chown(path, owner.userID, owner.groupID) == 0 else {
                throw SystemError("chown", path, errno)
            }
        }
    }

    private func addLine(_ rest: String) throws(SystemError) {
        let path = "\(self.folder.path)/\(DKIMKeyFolder.selectorFile)"
        var content: [UInt8] = []
        if access(path, F_OK) == 0 {
            content = try Descriptor(reading: path).readAll(limit: 65_536) ?? []
            if let last = content.last, last != 0x0A { content.append(0x0A) }
        }
        content += Array("\(self.domain.selector)\(rest)\n".utf8)
        let fresh = "\(path).new"
        let file = try Descriptor(opening: fresh, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
        try file.setMode(0o644)
        try file.write(content.span)
        try file.sync()
        guard rename(fresh, path) == 0 else { throw SystemError("rename", fresh, errno) }
    }
}
