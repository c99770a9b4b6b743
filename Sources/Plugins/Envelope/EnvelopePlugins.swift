import PolicyKit

/// Plugins that decide about reverse-paths and recipients.
enum EnvelopePlugins {
    static let all: [any Plugin.Type] = [
        BadMailFrom.self,
        BadRcptTo.self,
        RcptOK.self,
        ResolvableFromhost.self,
    ]
}
