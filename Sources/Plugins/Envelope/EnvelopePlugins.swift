import PolicyKit

/// Plugins that decide about reverse-paths and recipients.
enum EnvelopePlugins {
    static let all: [any Plugin.Type] = [
        Aliases.self,
        BadMailFrom.self,
        BadMailFromTo.self,
        BadRcptTo.self,
        RcptMap.self,
        RcptOK.self,
        RcptRegexp.self,
        RcptVerify.self,
        ResolvableFromhost.self,
    ]
}
