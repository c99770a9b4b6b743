import PolicyKit

/// Plugins that take a message: they store it, send it on or drop it.
enum QueuePlugins {
    static let all: [any Plugin.Type] = [
        QueueDiscard.self,
        QueueLMTP.self,
        QueueMaildir.self,
        QueueSMTPForward.self,
        QueueSMTPProxy.self,
    ]
}
