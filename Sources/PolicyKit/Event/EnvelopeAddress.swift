/// An envelope address cut at its last `@`, as plugins see an address that a plugin has set: the
/// frontend parses it again by SMTP's grammar.
struct EnvelopeAddress {
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
    init(parts: EnvelopeAddress) {
        self.init(address: parts.address, local: parts.local, domain: parts.domain)
    }
}

extension Recipient {
    init(id: Int64, parts: EnvelopeAddress) {
        self.init(id: id, address: parts.address, local: parts.local, domain: parts.domain)
    }
}
