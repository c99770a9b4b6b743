import PolicyKit

/// What becomes of the header of a scanned message.
///
/// The message's author chooses its fields, so neither the number nor the size of the changes follows
/// them: a verdict has at most 256 actions, and other plugins have a share of them.
struct SpamHeader {
    /// The most names of fields that are removed, one action each.
    static let maximumNames = 64
    /// The longest name of a field, which is the protocol's.
    static let maximumNameOctets = 255
    /// The most fields that are renamed; others are dropped.
    static let maximumRenamed = 32
    /// The longest value that is renamed, and the longest subject: encoded words make it longer.
    static let maximumValueOctets = 8_192
    /// The most octets of all values that are renamed.
    static let maximumRenamedOctets = 32_768

    private let event: HookEvent<DataPostStage>
    private let oldHeaders: SpamAssassin.OldHeaders
    /// The `X-Spam-*` fields that came with the message, unless they are kept.
    private let old: [HeaderField]
    /// Their names in lower case, each once.
    private let names: Set<Bytes>

    init(_ event: HookEvent<DataPostStage>, _ oldHeaders: SpamAssassin.OldHeaders) {
        self.event = event
        self.oldHeaders = oldHeaders
        self.old =
            oldHeaders == .keep
            ? []
            : event.headers.filter { SpamdReply.isSpamField($0.name.octets + [0x3A]) }
        self.names = Set(self.old.lazy.map { $0.name.asciiLowercased })
    }

    /// Whether one verdict can remove all fields that a sender may have written to pass for ours.
    var isCleanable: Bool {
        self.names.count <= Self.maximumNames
            && self.names.allSatisfy { $0.octets.count <= Self.maximumNameOctets }
    }

    /// No field that a sender wrote may pass for one of ours.
    func clean() {
        for name in self.names.compactMap(\.string) { self.event.deleteHeaders(named: name) }
        guard self.oldHeaders == .rename else { return }
        var octets = 0
        for field in self.old.prefix(Self.maximumRenamed) {
            let name = Bytes(octets: Array("X-Old-".utf8) + field.name.octets.dropFirst(2))
            let count = field.value.octets.count
            guard name.octets.count <= Self.maximumNameOctets, count <= Self.maximumValueOctets,
                octets + count <= Self.maximumRenamedOctets
            else { continue }
            octets += count
            self.event.addHeader(name, field.value, at: .bottom)
        }
    }

    /// Adds what spamd says on top, in its order.
    func add(_ fields: [SpamdReply.Field], user: String) {
        if self.event.transaction.recipientCount > 1 {
            self.event.addHeader("X-Spam-User", user)
        }
        // Each goes to the top, so the last is added first.
        for field in fields.reversed() {
            self.event.addHeader(Bytes(field.name), Bytes(octets: field.value))
        }
    }

    /// Puts `prefix` in front of the subject.
    ///
    /// The message has one subject then.
    func markSubject(_ prefix: String) {
        let subjects = self.event.headers.filter { $0.name.equalsIgnoringASCIICase("Subject") }
        guard let subject = subjects.first else {
            return self.event.addHeader("Subject", prefix, at: .bottom)
        }
        var value = Array(subject.value.octets.prefix(Self.maximumValueOctets))
        if value.last == 0x0D { value.removeLast() }  // half a fold
        let hasSpace = value.first.map { $0 <= 0x20 } ?? true
        let marked = Bytes(octets: Array(" \(prefix)\(hasSpace ? "" : " ")".utf8) + value)
        guard subjects.count > 1 else { return self.event.setHeader(subject, to: marked) }
        self.event.deleteHeaders(named: "Subject")
        self.event.addHeader("Subject", marked, at: .bottom)
    }
}
