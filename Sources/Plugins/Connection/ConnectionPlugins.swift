import PolicyKit

/// Plugins that decide about a client and its session: whether it may connect, how long it may stay.
enum ConnectionPlugins {
    static let all: [any Plugin.Type] = [
        CountUnrecognizedCommands.self,
        EarlyTalker.self,
        FCrDNS.self,
        Helo.self,
        GeoIP.self,
        HostsAllow.self,
        QuitFortune.self,
        Relay.self,
    ]
}
