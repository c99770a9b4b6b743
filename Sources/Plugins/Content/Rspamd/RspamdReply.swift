import PolicyKit

/// What rspamd says about a message.
///
/// The reply comes from a program that reads hostile mail all day: every part of it is bounded and checked,
/// and what is not as it should be is an error, never a guess. Members that are not known are left out.
struct RspamdReply: Sendable, Equatable {
    /// What rspamd wants to be done.
    enum Action: String, Sendable, CaseIterable {
        case noAction = "no action"
        case greylist
        case addHeader = "add header"
        case rewriteSubject = "rewrite subject"
        case softReject = "soft reject"
        case reject
        case quarantine
        case discard
    }

    /// A rule that matched.
    struct Symbol: Sendable, Equatable {
        let name: String
        let score: Double
    }

    /// A header field to be added.
    struct Field: Sendable, Equatable {
        let name: String
        /// Lines end as CRLF with white space behind it.
        let value: String
        /// Whether it goes on top of the header, not below it.
        let isOnTop: Bool
    }

    /// A header field to be removed: the nth of its name from the top, from the bottom if it is negative; 0
    /// for all.
    struct Removal: Sendable, Equatable {
        let name: String
        let index: Int
    }

    /// The most fields that are added, and the most that are removed: a verdict has 256 actions at most.
    static let maximumChanges = 64
    /// The most octets of one added value, and of all.
    static let maximumValueOctets = 12_288
    static let maximumOctets = 65_536
    /// The most symbols that are kept.
    static let maximumSymbols = 200

    private(set) var action: Action
    let isSkipped: Bool
    let score: Double
    /// The score from which on a message is rejected.
    let required: Double
    /// The ones with the largest scores first.
    let symbols: [Symbol]
    /// What the client is to be told; `nil`: nothing special.
    let message: String?
    /// The new subject, encoded; `nil`: none.
    let subject: String?
    private(set) var removals: [Removal] = []
    private(set) var additions: [Field] = []
    /// The envelope's sender, if it is to be another one.
    private(set) var sender: String?
    private(set) var newRecipients: [String] = []
    private(set) var goneRecipients: [String] = []

    /// Reads the content of an answer.
    init(_ octets: [UInt8]) throws(RspamdError) {
        let json: JSONValue
        do {
            json = try JSONValue(parsing: octets)
        } catch {
            throw RspamdError("no JSON: \(error)")
        }
        guard let word = json["action"].flatMap({ String(json: $0) }) else {
            throw RspamdError("no action in the answer")
        }
        guard let action = Action(rawValue: word) else {
            throw RspamdError("the action \(Self.printable(word)) is not known")
        }
        self.action = action
        self.isSkipped = json["is_skipped"] == .bool(true)
        self.score = try Self.number(json, "score")
        self.required = try Self.number(json, "required_score")
        self.symbols = try Self.symbols(json["symbols"])
        self.message = json["messages"]?["smtp_message"].flatMap { String(json: $0) }
        self.subject = json["subject"].flatMap { String(json: $0) }
        let milter = json["milter"]
        if action == .reject, let word = milter?["reject"].flatMap({ String(json: $0) }) {
            self.action = Action(rawValue: word) ?? action
        }
        self.removals = try Self.removals(milter?["remove_headers"])
        self.additions =
            try Self.additions(milter?["add_headers"]) + Self.signatures(json["dkim-signature"])
        self.sender = milter?["change_from"].flatMap { String(json: $0) }
        self.newRecipients = try Self.words(milter?["add_rcpt"], "add_rcpt")
        self.goneRecipients = try Self.words(milter?["del_rcpt"], "del_rcpt")
        try self.checkSize()
    }

    private func checkSize() throws(RspamdError) {
        let octets = self.additions.map { $0.value.utf8.count }
        guard self.removals.count <= Self.maximumChanges,
            self.additions.count <= Self.maximumChanges,
            self.newRecipients.count <= Self.maximumChanges,
            self.goneRecipients.count <= Self.maximumChanges,
            octets.allSatisfy({ $0 <= Self.maximumValueOctets }),
            octets.reduce(0, +) <= Self.maximumOctets
        else { throw RspamdError("more changes than a verdict has room for") }
        for name in self.removals.map(\.name) + self.additions.map(\.name)
        where !Self.isFieldName(name) {
            throw RspamdError("\(Self.printable(name)) is no name of a field")
        }
        for address in self.newRecipients + [self.sender ?? ""] where !Self.isAddress(address) {
            throw RspamdError("\(Self.printable(address)) is no address")
        }
    }

    private static func number(_ json: JSONValue, _ name: String) throws(RspamdError) -> Double {
        guard let number = json[name].flatMap({ Double(json: $0) }) else {
            throw RspamdError("no \(name) in the answer")
        }
        return number
    }

    /// Names and scores; what rspamd says beside them is for its own log.
    private static func symbols(_ json: JSONValue?) throws(RspamdError) -> [Symbol] {
        guard let json, json != .null else { return [] }
        guard case .object(let members) = json else { throw RspamdError("symbols are no object") }
        let symbols = members.compactMap { name, value -> Symbol? in
            let score = value["score"].flatMap { Double(json: $0) }
            guard Self.isFieldName(name), name.utf8.count <= 100 else { return nil }
            return Symbol(name: name, score: score ?? 0)
        }
        let sorted = symbols.sorted { (-abs($0.score), $0.name) < (-abs($1.score), $1.name) }
        return Array(sorted.prefix(Self.maximumSymbols))
    }

    /// `{"X-Old": 0, "X-Second": 2, "X-Some": [1, 3]}`.
    private static func removals(_ json: JSONValue?) throws(RspamdError) -> [Removal] {
        guard let json, json != .null else { return [] }
        guard case .object(let members) = json else {
            throw RspamdError("remove_headers is no object")
        }
        var removals: [Removal] = []
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            let numbers: [JSONValue] = if case .array(let list) = value { list } else { [value] }
            for number in numbers {
                guard let index = Int(json: number) else {
                    throw RspamdError("remove_headers has no number")
                }
                removals.append(Removal(name: name, index: index))
            }
        }
        return removals
    }

    /// `{"X-A": "v", "X-B": {"value": "v", "order": 1}, "X-C": ["v", "w"]}`.
    ///
    /// Those that go on top have the order from the top in which they stand then.
    private static func additions(_ json: JSONValue?) throws(RspamdError) -> [Field] {
        guard let json, json != .null else { return [] }
        guard case .object(let members) = json else {
            throw RspamdError("add_headers is no object")
        }
        var top: [(order: Int, field: Field)] = []
        var bottom: [Field] = []
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            let values: [JSONValue] = if case .array(let list) = value { list } else { [value] }
            for value in values {
                let text = String(json: value) ?? value["value"].flatMap { String(json: $0) }
                guard let text else { throw RspamdError("add_headers has no text") }
                let order = (value["order"] ?? value["index"]).flatMap { Int(json: $0) } ?? -1
                let field = Field(name: name, value: Self.folded(text), isOnTop: order >= 0)
                if order >= 0 { top.append((order, field)) } else { bottom.append(field) }
            }
        }
        let ordered = top.enumerated().sorted {
            ($0.element.order, $0.offset) < ($1.element.order, $1.offset)
        }
        return ordered.map(\.element.field) + bottom
    }

    private static func signatures(_ json: JSONValue?) throws(RspamdError) -> [Field] {
        try self.words(json, "dkim-signature").map {
            Field(name: "DKIM-Signature", value: Self.folded($0), isOnTop: true)
        }
    }

    /// A text or a list of them.
    private static func words(
        _ json: JSONValue?,
        _ name: String
    ) throws(RspamdError) -> [String] {
        guard let json, json != .null else { return [] }
        if let word = String(json: json) { return [word] }
        guard let words = [String](json: json) else { throw RspamdError("\(name) has no text") }
        return words
    }

    /// Each line end that white space follows as CRLF; others go.
    private static func folded(_ text: String) -> String {
        var octets: [UInt8] = []
        let given = Array(text.utf8)
        for (index, octet) in given.enumerated() {
            switch octet {
            case 0x0D: continue
            case 0x0A:
                let next = index + 1 < given.count ? given[index + 1] : 0
                if next == 0x20 || next == 0x09 { octets += [0x0D, 0x0A] }
            default: octets.append(octet)
            }
        }
        return String(decoding: octets, as: UTF8.self)
    }

    /// RFC 5322 §2.2.
    static func isFieldName(_ text: String) -> Bool {
        1...255 ~= text.utf8.count
            && text.utf8.allSatisfy { 0x21...0x7E ~= $0 && $0 != UInt8(ascii: ":") }
    }

    private static func isAddress(_ text: String) -> Bool {
        text.utf8.count <= 320
            && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F && $0 != 0x3C && $0 != 0x3E }
    }

    /// For the log.
    private static func printable(_ text: String) -> String {
        String(decoding: text.utf8.prefix(80).map { 0x20...0x7E ~= $0 ? $0 : 0x3F }, as: UTF8.self)
    }
}

/// Why an answer says nothing about the message.
struct RspamdError: Error, Equatable, CustomStringConvertible {
    /// For the log.
    let description: String

    init(_ description: String) { self.description = description }
}
