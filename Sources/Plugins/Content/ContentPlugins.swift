import PolicyKit

/// Plugins that decide about the header and the body of a message.
enum ContentPlugins {
    static let all: [any Plugin.Type] = [
        Attachment.self,
        BodyMatch.self,
        BogusBounce.self,
        Headers.self,
        Loop.self,
        MessageArchive.self,
        Rspamd.self,
        SpamAssassin.self,
        SubjectEdit.self,
        VirusClamdscan.self,
        VirusCommand.self,
    ]
}
