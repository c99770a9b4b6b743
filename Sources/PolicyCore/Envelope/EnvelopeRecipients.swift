import Octets

/// A recipient under an id that never shifts.
package struct EnvelopeRecipient: Equatable {
    package let id: Int
    package internal(set) var address: EnvelopeAddress

    /// Puts another address in its place; what RCPT said beside the address stays.
    mutating func replaceAddress(by address: EnvelopeAddress) {
        let parameters = self.address.parameters
        self.address = address
        self.address.parameters = parameters
    }
}

/// The recipients of a transaction, in the order in which they came.
///
/// `contains` compares with each of a few, and looks into a set of hashes once there are more: a
/// transaction of *n* recipients costs O(*n*) comparisons, and a short one no allocation.
struct EnvelopeRecipients {
    /// With so many recipients the set of hashes is made.
    static let fewEntries = 32

    private(set) var entries: [EnvelopeRecipient] = []
    /// The hashes of all entries, and of some that are gone; empty while there are few.
    private var hashes: Set<Int> = []

    /// Whether one of the entries is the same mailbox.
    mutating func contains(_ recipient: EnvelopeRecipient) -> Bool {
        let address = recipient.address
        if self.entries.count >= Self.fewEntries {
            if self.hashes.isEmpty { self.hashes = Set(self.entries.map(\.address.mailboxHash)) }
            guard self.hashes.contains(address.mailboxHash) else { return false }
        }
        return self.entries.contains { $0.address.isSameMailbox(as: address) }
    }

    /// Adds an entry, whether it is the same as another or not.
    mutating func append(_ recipient: EnvelopeRecipient) {
        self.entries.append(recipient)
        self.keepHash(of: recipient.address)
    }

    /// False when no entry has that id.
    mutating func remove(id: Int) -> Bool {
        guard let index = self.index(ofID: id) else { return false }
        self.entries.remove(at: index)
        return true
    }

    /// The parameters of the old address stay; false when no entry has that id.
    mutating func replace(id: Int, with address: EnvelopeAddress) -> Bool {
        guard let index = self.index(ofID: id) else { return false }
        self.entries[index].replaceAddress(by: address)
        self.keepHash(of: address)
        return true
    }

    /// Adds a hash to a set that there is; one in which most hashes are of what is gone is dropped.
    private mutating func keepHash(of address: EnvelopeAddress) {
        guard !self.hashes.isEmpty else { return }
        self.hashes.insert(address.mailboxHash)
        if self.hashes.count > 2 * max(self.entries.count, Self.fewEntries) {
            self.hashes.removeAll()
        }
    }

    /// The newest first: a worker changes mostly the recipient that it was asked about.
    private func index(ofID id: Int) -> Int? { self.entries.lastIndex { $0.id == id } }

    /// Of entries that are the same mailbox keeps the first.
    ///
    /// - Returns: The ids that are gone, each with the one that was kept in its place.
    @discardableResult
    mutating func dropRepeated() -> [(gone: Int, kept: Int)] {
        var kept = Self()
        var gone: [(gone: Int, kept: Int)] = []
        for entry in self.entries {
            if kept.contains(entry) {
                gone.append((entry.id, kept.id(sameAs: entry) ?? entry.id))
            } else {
                kept.append(entry)
            }
        }
        if !gone.isEmpty { self = kept }
        return gone
    }

    /// The id of the entry that is the same mailbox; `nil` if none is.
    func id(sameAs recipient: EnvelopeRecipient) -> Int? {
        self.entries.first { $0.address.isSameMailbox(as: recipient.address) }?.id
    }
}

extension EnvelopeAddress {
    /// Whether both name one mailbox: the same local part, the same domain in any letter case.
    ///
    /// The case of a local part counts, but not that of `postmaster` without a domain (RFC 5321
    /// §2.4, §4.1.1.3).
    func isSameMailbox(as other: Self) -> Bool {
        guard let domain = self.domain, let otherDomain = other.domain else {
            return self.domain == nil && other.domain == nil
                && Self.isEqualInAnyCase(self.local, other.local)
        }
        return self.local == other.local && Self.isEqualInAnyCase(domain, otherDomain)
    }

    /// The same for all addresses that are the same mailbox.
    fileprivate var mailboxHash: Int {
        var hasher = Hasher()
        for octet in self.domain ?? self.local { hasher.combine(octet.lowerCased) }
        if self.domain != nil { hasher.combine(self.local) }
        return hasher.finalize()
    }

    private static func isEqualInAnyCase(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.count == right.count
            && zip(left, right).allSatisfy { $0.lowerCased == $1.lowerCased }
    }
}
