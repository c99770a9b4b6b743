/// What sender and recipient have in common.
package struct AddressParts {
    let address: Bytes
    let local: Bytes
    let domain: Bytes
    var params: [ESMTPParameter] = []

    /// An address cut at its last `@`, as plugins see an address that a plugin has set: the frontend
    /// parses it again by SMTP's grammar.
    package init(cutting address: [UInt8]) {
        self.address = Bytes(octets: address)
        let at = address.lastIndex(of: UInt8(ascii: "@"))
        self.local = Bytes(octets: Array(address[..<(at ?? address.endIndex)]))
        self.domain = Bytes(octets: at.map { Array(address[($0 + 1)...]) } ?? [])
    }

    init(_ address: WireObject) throws {
        self.address = try address.requiredBytes("address")
        self.local = try address.requiredBytes("local")
        self.domain = try address.bytes("domain") ?? ""
        self.params = try address.requiredList("params").map { try ESMTPParameter($0) }
    }
}

extension Sender {
    package init(_ parts: AddressParts) {
        self.init(
            address: parts.address,
            local: parts.local,
            domain: parts.domain,
            params: parts.params
        )
    }

    /// A sender without parameters, cut at the address's last `@`.
    package init(address: String) {
        self.init(AddressParts(cutting: Array(address.utf8)))
    }
}

extension Recipient {
    package init(id: Int64, _ parts: AddressParts) {
        self.init(
            id: id,
            address: parts.address,
            local: parts.local,
            domain: parts.domain,
            params: parts.params
        )
    }

    /// A recipient without parameters, cut at the address's last `@`.
    package init(id: Int64, address: String) {
        self.init(id: id, AddressParts(cutting: Array(address.utf8)))
    }

    init(_ recipient: WireObject) throws {
        self.init(id: try recipient.int("id"), try AddressParts(recipient))
    }
}
