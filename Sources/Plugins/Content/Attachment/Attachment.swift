import Archives
import Patterns
package import PolicyKit

/// Refuses messages with attachments that are not accepted, also in archives.
///
/// See README.md.
package struct Attachment: DataPostHook {
    package static let name = "attachment"

    /// The most time that the archives of a message may take.
    private static let archiveTime: Duration = .seconds(15)
    /// The most names that the note keeps.
    private static let maximumNames = 100

    private let refusal: Refusal
    private let rules: AttachmentRules
    private let names: ControlFile<[Pattern]>
    private let namesInArchives: ControlFile<[Pattern]>
    private let types: ControlFile<[Pattern]>
    private let sizeLimit: Int
    private let scansRelayClients: Bool

    package init(configuration: PluginConfiguration) throws {
        let extensions = configuration.argument("extensions", as: .extensions, default: [])
        let depth = configuration.argument("archive_depth", as: .integer(in: 0...10), default: 2)
        var limits = ArchiveListing.Limits()
        limits.depth = depth
        var troubles: Set<ArchiveListing.Trouble> = []
        for (trouble, usual) in [
            (ArchiveListing.Trouble.deep, true), (.large, true), (.encrypted, false),
            (.damaged, false),
        ] {
            let refuses = configuration.argument(
                "\(trouble.rawValue)_archives",
                as: .choice(["pass": false, "reject": true]),
                default: usual
            )
            if refuses { troubles.insert(trouble) }
        }
        self.rules = AttachmentRules(
            extensions: extensions,
            names: [],
            namesInArchives: [],
            types: [],
            troubles: troubles,
            archives: depth > 0 ? limits : nil
        )
        self.sizeLimit = configuration.argument(
            "size_limit",
            as: .integer(in: 1...100_000_000),
            default: 25_000_000
        )
        self.scansRelayClients = configuration.argument(
            "relayclient",
            as: .choice(["skip": false, "scan": true]),
            default: false
        )
        self.refusal = configuration.refusal()
        self.names = try configuration.patternFile("attachment.filename.regex")
        self.namesInArchives = try configuration.patternFile("attachment.archive.filename.regex")
        self.types = try configuration.patternFile("attachment.ctype.regex")
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(.wholeMessage) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        if event.isImmune, !(event.session.relay && self.scansRelayClients) {
            return event.skip("immune")
        }
        let message = try event.message
        guard message.size <= self.sizeLimit else {
            return event.skip("too large (\(message.size))")
        }
        var rules = self.rules
        rules.names = event.value(of: self.names)
        rules.namesInArchives = event.value(of: self.namesInArchives)
        rules.types = event.value(of: self.types)
        let deadline = ContinuousClock.now + min(Self.archiveTime, event.workingTime)
        let mime = try await message.mime(limit: self.sizeLimit)
        let search = rules
        let result = await onThreadOfItsOwn {
            Result { () throws(PatternError) in try search.search(mime, until: deadline) }
        }
        guard let result else { throw PluginError("no thread for the search") }
        let (finding, names) = try result.get()
        event.notes[.attachments] = names.prefix(Self.maximumNames).map { Self.printable($0) }
        guard let finding else { return event.pass("\(names.count) names") }
        event.adjustKarma(by: -1)
        return event.refuse(self.refusal, Self.text(finding), detail: "7.1")
    }

    private static func text(_ finding: AttachmentRules.Finding) -> String {
        switch finding {
        case .name(let name): "The attachment \(self.printable(name)) is not accepted"
        case .type(let type): "Attachments of type \(self.printable(type)) are not accepted"
        case .nameInArchive(let name):
            "\(self.printable(name)) is in an archive and not accepted"
        case .trouble(.deep, let name):
            "The archive \(self.printable(name)) has archives in archives, which are not accepted"
        case .trouble(.large, let name): "The archive \(self.printable(name)) is too large"
        case .trouble(.encrypted, let name):
            "The archive \(self.printable(name)) is encrypted, which is not accepted"
        case .trouble(.damaged, let name): "\(self.printable(name)) cannot be read to its end"
        }
    }

    /// A sender's text for the reply and the note: printable ASCII, 200 octets at most.
    private static func printable(_ text: String) -> String {
        String(decoding: text.utf8.prefix(200).map { 0x20...0x7E ~= $0 ? $0 : 0x3F }, as: UTF8.self)
    }
}

extension NoteKey<[String]> {
    /// The names of a message's attachments, at most 100, in printable ASCII.
    static let attachments = NoteKey("attachments", in: .transaction)
}

extension ArgumentType<Set<String>> {
    /// `exe,scr`: ends of file names.
    fileprivate static var extensions: Self {
        Self("ends of file names with commas between them, as in exe,scr") { word in
            let list = word.split(separator: ",", omittingEmptySubsequences: false).map {
                $0.lowercased().drop { $0 == "." }
            }
            let isValid = list.allSatisfy { name in
                !name.isEmpty && name.utf8.allSatisfy { 0x21...0x7E ~= $0 && $0 != 0x2E }
            }
            return isValid ? Set(list.map { String($0) }) : nil
        }
    }
}
