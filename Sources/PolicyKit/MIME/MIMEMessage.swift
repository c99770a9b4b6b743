import Octets

/// A message taken apart into its MIME parts.
///
/// ```swift
/// let mime = try await event.message.mime(limit: 10_000_000)
/// for part in mime.parts where part.filename?.lowercased().hasSuffix(".exe") == true { … }
/// ```
///
/// Any octets are taken: what is no MIME is one part, and what is broken is read as far as it goes.
/// ``stop`` says where reading ended early because of a limit.
///
/// - Note: RFC 2045 and RFC 2046 (structure), RFC 2047 and RFC 2231 (names and text in fields).
public struct MIMEMessage: Sendable {
    /// How much is read.
    public struct Limits: Sendable, Hashable {
        /// The most parts within parts; the message itself is at depth 0.
        public var depth = 20
        /// The most parts of the whole message.
        public var parts = 1_000
        /// The most fields of one part's header.
        public var fields = 1_000

        /// The usual limits.
        public init() {}
    }

    /// Where reading ended early.
    public struct Stop: Sendable, Hashable {
        /// Which limit it was.
        public enum Reason: Sendable, Hashable {
            /// A part too deep is not taken apart.
            case depth
            /// What follows the last part is not read.
            case parts
            /// The other fields of a header are left out.
            case fields
        }

        /// Which limit it was.
        public let reason: Reason
        /// The octet of the message at which it was reached.
        public let offset: Int
    }

    /// The message as a part.
    public let root: MIMEPart
    /// Where reading ended early for the first time; `nil` if all was read.
    public let stop: Stop?

    /// Takes a message apart, in time proportional to its octets.
    public init(_ octets: [UInt8], limits: Limits = Limits()) {
        var parser = MIMEParser(octets, limits: limits)
        self.root = parser.parse()
        self.stop = parser.stop
    }

    /// All parts in their order, the message itself first.
    public var parts: [MIMEPart] {
        var found: [MIMEPart] = []
        self.root.collect(&found)
        return found
    }
}

/// A part of a message: a header and a content.
public struct MIMEPart: Sendable {
    /// The fields of its header, in order.
    public let fields: [MIMEField]
    /// Type and subtype in lower case, as `text/plain`, which is also what stands for a missing or
    /// unreadable one.
    public let type: String
    /// The parameters of its type, names in lower case.
    public let parameters: [String: String]
    /// `inline`, `attachment` or another word, in lower case; `nil` if the part says none.
    public let disposition: String?
    /// The file's name, from `Content-Disposition` or else from the type; as the sender gave it, so
    /// with any folders and dots.
    public let filename: String?
    /// How the content is encoded.
    public let encoding: TransferEncoding
    /// The parts within: those of a multipart, or the one message of `message/rfc822`.
    public let parts: [MIMEPart]
    /// Where in the message the content stands, as it came.
    public let range: Range<Int>

    let message: [UInt8]

    /// The content, decoded; of a part with parts within, as it came.
    public func content() -> [UInt8] {
        let raw = self.message[self.range]
        return self.parts.isEmpty ? self.encoding.decode(raw) : Array(raw)
    }

    /// The content as text; `nil` if the part is no text, or its character set is not known.
    ///
    /// Known are UTF-8, US-ASCII, ISO-8859-1 and windows-1252; a part that names none is read as UTF-8,
    /// of which the US-ASCII that RFC 2045 §5.2 then means is a part. Octets that the character set does not
    /// have become U+FFFD.
    public func text() -> String? {
        guard self.type.hasPrefix("text/") else { return nil }
        return Charset(self.parameters["charset"] ?? "utf-8")?.decode(self.content())
    }

    func collect(_ found: inout [MIMEPart]) {
        found.append(self)
        for part in self.parts { part.collect(&found) }
    }
}

/// A field of a part's header.
public struct MIMEField: Sendable, Hashable {
    /// What stands before the colon, without white space.
    public let name: Bytes
    /// What stands after the colon, folded lines joined, without white space at its ends.
    public let value: Bytes

    /// The value as text: encoded words decoded (RFC 2047), other octets as UTF-8.
    public var text: String { EncodedWords.decode(self.value.octets) }

    func isNamed(_ name: String) -> Bool {
        self.name.octets.count == name.utf8.count
            && zip(self.name.octets, name.utf8).allSatisfy { $0.lowerCased == $1 }
    }
}

extension Message {
    /// Reads the message and takes it apart, if it has at most `limit` octets.
    ///
    /// The parts stand in the message as it now is: header fields with every edit so far.
    ///
    /// - Throws: ``PluginError`` if the message is larger, or if its file cannot be read.
    public func mime(
        limit: Int,
        limits: MIMEMessage.Limits = MIMEMessage.Limits()
    ) async throws -> MIMEMessage {
        let octets = try await self.bytes(limit: limit)
        return try await withBlockingThread { MIMEMessage(octets, limits: limits) }
    }
}
