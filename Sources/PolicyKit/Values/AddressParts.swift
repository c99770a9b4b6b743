/// An envelope address cut at its last `@`, as plugins see an address that a plugin has set: the
/// frontend parses it again by SMTP's grammar.
struct AddressParts {
    let address: Bytes
    let local: Bytes
    let domain: Bytes

    init(_ address: Bytes) {
        self.address = address
        let at = address.octets.lastIndex(of: UInt8(ascii: "@"))
        self.local = Bytes(octets: Array(address.octets[..<(at ?? address.octets.endIndex)]))
        self.domain = Bytes(octets: at.map { Array(address.octets[($0 + 1)...]) } ?? [])
    }
}

extension Sender {
    init(parts: AddressParts) {
        self.init(address: parts.address, local: parts.local, domain: parts.domain)
    }
}

extension Sender {
    /// A sender without parameters, cut at the address's last `@`.
    package init(address: String) {
        self.init(parts: AddressParts(Bytes(address)))
    }
}

extension Recipient {
    /// A recipient without parameters, cut at the address's last `@`.
    package init(id: Int64, address: String) {
        self.init(id: id, parts: AddressParts(Bytes(address)))
    }

    init(id: Int64, parts: AddressParts) {
        self.init(id: id, address: parts.address, local: parts.local, domain: parts.domain)
    }
}
