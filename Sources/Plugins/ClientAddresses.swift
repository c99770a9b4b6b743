import PolicyKit

extension HookEvent {
    /// The client's address.
    ///
    /// - Throws: ``PluginError`` if the frontend could not tell it.
    func clientAddress() throws(PluginError) -> IPAddress {
        let ip = self.session.client.ip
        guard let address = IPAddress(parsing: ip) else {
            throw PluginError("client address \(ip) is none")
        }
        return address
    }
}

extension ControlLine {
    /// The network that the line begins with: an address, a block, or a prefix that ends where an octet or a
    /// group does.
    ///
    /// - Throws: The line's problem if it begins with none.
    @Sendable
    static func network(_ line: ControlLine) throws(PluginError) -> IPNetwork {
        guard let word = line.words.first, let network = IPNetwork(parsing: word) else {
            throw line.problem("\(line.text) is no address, block (192.0.2.0/24) or prefix (10.)")
        }
        return network
    }
}

extension DNSAnswer {
    /// The addresses of its A and AAAA records; empty if it has none.
    var addresses: [IPAddress] {
        guard case .records(let records) = self else { return [] }
        return records.compactMap { if case .address(let address) = $0 { address } else { nil } }
    }
}
