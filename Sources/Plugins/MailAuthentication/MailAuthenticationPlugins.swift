import PolicyKit

/// Plugins that decide whether a message is from whom it says.
enum MailAuthenticationPlugins {
    static let all: [any Plugin.Type] = [
        DKIMSignatures.self,
        ARCSets.self,
    ]
}
