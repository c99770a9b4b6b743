import PolicyKit

/// Networks that no list in the DNS can know: this machine, private and local ones
/// (RFC 1918, RFC 3927, RFC 4193, RFC 4291 §2.5.6).
enum PrivateNetworks {
    private static let networks = [
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "::1",
        "fc00::/7", "fe80::/10",
    ].compactMap { IPNetwork(parsing: $0) }

    static func contains(_ address: IPAddress) -> Bool {
        self.networks.contains { $0.contains(address) }
    }
}
