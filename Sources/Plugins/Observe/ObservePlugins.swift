import PolicyKit

/// Plugins that decide nothing: they are told what happened.
enum ObservePlugins {
    static let all: [any Plugin.Type] = [
        SessionLog.self
    ]
}
