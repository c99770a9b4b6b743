extension FrontendConfiguration {
    /// The keys of a listener behind a proxy, or behind another mail server.
    static func readProxies(_ reader: TOMLReader, of listener: inout Listener) {
        listener.xclientNetworks = Self.networks(reader, "xclient_networks")
        listener.xforwardNetworks = Self.networks(reader, "xforward_networks")
        listener.proxyProtocol = reader.bool("proxy_protocol", default: false)
        listener.proxyNetworks = Self.networks(reader, "proxy_networks")
        listener.proxyTimeoutMS = reader.integer(
            "proxy_timeout_ms",
            default: listener.proxyTimeoutMS,
            in: 100...60_000,
            unit: "milliseconds"
        )
        let isListed = !listener.proxyNetworks.isEmpty
        // A network that cannot be read is reported already.
        if listener.proxyProtocol, !isListed, (reader.strings("proxy_networks") ?? []).isEmpty {
            reader.report(
                "proxy_protocol",
                "needs proxy_networks: without it no proxy may connect",
                remedy: "write proxy_networks = [\"192.0.2.7\"], the addresses of your proxies"
            )
        }
        if !listener.proxyProtocol, isListed {
            reader.report(
                "proxy_networks",
                "has no effect without proxy_protocol",
                remedy: "write proxy_protocol = true, or remove the line"
            )
        }
    }
}
