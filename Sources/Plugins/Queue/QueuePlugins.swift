import PolicyKit

/// Plugins that take a message: they store it, send it on or drop it.
enum QueuePlugins {
    static let all: [any Plugin.Type] = [
        QueueCommand.self,
        QueueDiscard.self,
        QueueEximBSMTP.self,
        QueueHTTP.self,
        QueueLMTP.self,
        QueueMaildir.self,
        QueuePostfixQueue.self,
        QueueQmailQueue.self,
        QueueQuarantine.self,
        QueueSMTPForward.self,
        QueueSMTPProxy.self,
    ]
}
