import PolicyKit

/// Plugins that decide whether a message is from whom it says.
enum MailAuthenticationPlugins {
    static let all: [any Plugin.Type] = [
        AuthenticationResultsField.self,
        SenderPermittedFrom.self,
        DMARCVerifier.self,
        DKIMSignatures.self,
        ARCSets.self,
    ]
}
