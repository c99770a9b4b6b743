import Octets

/// One spelling for all that name the same mail domain.
package enum DomainSpelling {
    /// The A-labels of `domain`, in lower case and without a trailing dot (RFC 5890 §2.3.2.4).
    ///
    /// What is no domain name, as an address literal, is only put in lower case. U-labels are lower
    /// cased but not normalised: RFC 6531 §3.3 asks clients for the final form.
    package static func canonical(_ domain: [UInt8]) -> [UInt8] {
        let lowerCased = domain.map(\.lowerCased)
        guard lowerCased.contains(where: { $0 >= 0x80 }) || lowerCased.last == 0x2E else {
            return lowerCased
        }
        return DNSName(octets: lowerCased).map { Array($0.text.utf8) } ?? lowerCased
    }

    /// An address whose domain, behind the last "@", is in its canonical spelling.
    ///
    /// The local part is in lower case as well: for lists, where it does not count.
    package static func canonical(address: [UInt8]) -> [UInt8] {
        let lowerCased = address.map(\.lowerCased)
        guard let at = lowerCased.lastIndex(of: 0x40) else { return lowerCased }
        return lowerCased[...at] + self.canonical(Array(lowerCased[(at + 1)...]))
    }
}
