import PolicyKit

extension [ServerAddress] {
    /// The hosts of a plugin's line: `HOST[:PORT][,HOST[:PORT] …] [PORT]`.
    ///
    /// - Throws: What is wrong with them.
    init(hopsOf configuration: PluginConfiguration) throws {
        let hosts = try configuration.requiredPositional("host", as: .hosts)
        let port = configuration.positional("port", ifFits: .integer(in: 1...65_535))
        if port != nil, hosts.allSatisfy({ $0.port != nil }) {
            configuration.record("the port is given twice")
        }
        self = hosts.map { .tcp(host: $0.host, port: $0.port ?? port ?? 25) }
    }
}

extension ArgumentType<[(host: String, port: Int?)]> {
    fileprivate static var hosts: Self {
        Self("host names or addresses, with commas between them, each with a port if need be") {
            word in
            let hosts = word.split(separator: ",", omittingEmptySubsequences: false)
                .map { ServerAddress.hostAndPort(String($0)) }
            let known = hosts.compactMap { $0 }
            return known.count == hosts.count ? known : nil
        }
    }
}
