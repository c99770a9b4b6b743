import PolicyKit

/// Plugins that decide about the header and the body of a message.
enum ContentPlugins {
    static let all: [any Plugin.Type] = [
        BogusBounce.self,
        Headers.self,
        Loop.self,
        Rspamd.self,
        SpamAssassin.self,
        VirusClamdscan.self,
        VirusCommand.self,
    ]
}
