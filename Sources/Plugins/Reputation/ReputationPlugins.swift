import PolicyKit

/// Plugins that decide by what was here before, and by what others found.
enum ReputationPlugins {
    static let all: [any Plugin.Type] = [
        Greylisting.self,
        Karma.self,
        Naughty.self,
        RateLimit.self,
        Whitelist.self,
    ]
}
