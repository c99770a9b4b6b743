import PolicyKit

/// Plugins that ask lists in the DNS about clients and domains.
enum DNSListsPlugins {
    static let all: [any Plugin.Type] = [
        DNSBL.self,
        DNSWL.self,
        RHSBL.self,
        URIBL.self,
    ]
}
