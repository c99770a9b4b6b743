/// A note's name, scope and type, declared once and used wherever the note is read or written.
///
/// ```swift
/// extension NoteKey<Int> {
///     static let unrecognizedCommands = NoteKey("unrec_cmd_count", in: .session)
/// }
/// event.notes[.unrecognizedCommands] = 1
/// ```
public struct NoteKey<Value: NoteValue>: Sendable {
    /// The member's name in the scope's object.
    public let name: String
    /// Where the note lives.
    public let scope: NoteScope

    /// A key for the note `name`.
    public init(_ name: String, in scope: NoteScope) {
        self.name = name
        self.scope = scope
    }
}

/// A type that a note can have.
public protocol NoteValue {
    /// The value in `json`, `nil` if it is not of this type.
    init?(json: JSONValue)

    /// The value as it travels.
    var json: JSONValue { get }
}

extension Bool: NoteValue {
    /// The value in `json`, `nil` if it is not of this type.
    public init?(json: JSONValue) {
        switch json {
        case .bool(let value): self = value
        case .int(0): self = false
        case .int(1): self = true  // qpsmtpd's own flags are 1
        default: return nil
        }
    }

    /// The value as it travels.
    public var json: JSONValue { .bool(self) }
}

extension Int: NoteValue {
    /// The value in `json`, `nil` if it is not of this type.
    public init?(json: JSONValue) {
        guard case .int(let value) = json else { return nil }
        self.init(exactly: value)
    }

    /// The value as it travels.
    public var json: JSONValue { .int(Int64(self)) }
}

extension Double: NoteValue {
    /// The value in `json`, `nil` if it is not of this type.
    public init?(json: JSONValue) {
        switch json {
        case .double(let value): self = value
        case .int(let value): self = Double(value)
        default: return nil
        }
    }

    /// The value as it travels.
    public var json: JSONValue { .double(self) }
}

extension String: NoteValue {
    /// The value in `json`, `nil` if it is not of this type.
    public init?(json: JSONValue) {
        guard case .string(let value) = json else { return nil }
        self = value
    }

    /// The value as it travels.
    public var json: JSONValue { .string(self) }
}

extension JSONValue: NoteValue {
    /// The value in `json`, `nil` if it is not of this type.
    public init?(json: JSONValue) {
        self = json
    }

    /// The value as it travels.
    public var json: JSONValue { self }
}

extension Array: NoteValue where Element: NoteValue {
    /// Every element of the list, `nil` if one of them is of another type.
    public init?(json: JSONValue) {
        guard case .array(let values) = json else { return nil }
        self = []
        for value in values {
            guard let element = Element(json: value) else { return nil }
            self.append(element)
        }
    }

    /// The value as it travels.
    public var json: JSONValue { .array(self.map(\.json)) }
}

/// The notes of session and transaction, as every plugin before this one left them.
///
/// A note that is set travels back with the verdict; if the verdict is not applied, neither is it.
public struct Notes {
    let context: HookContext

    /// The note's value; `nil` if it is not there or of another type.
    ///
    /// Setting `nil` deletes it.
    public subscript<Value: NoteValue>(_ key: NoteKey<Value>) -> Value? {
        get { self.context.note(key.name, in: key.scope).flatMap { Value(json: $0) } }
        nonmutating set { self.context.setNote(key.name, in: key.scope, to: newValue?.json) }
    }
}

// The notes that more than one plugin reads; their names are qpsmtpd's.

extension NoteKey<Int> {
    /// Good and bad behaviour of this session: changed by ``HookEvent/adjustKarma(by:)``.
    public static let karma = NoteKey("karma", in: .session)
    /// Good less bad sessions of this client in the past.
    public static let karmaHistory = NoteKey("karma_history", in: .session)
}

extension NoteKey<JSONValue> {
    /// Set, and not false: the client's host is on a whitelist.
    public static let whitelisthost = NoteKey("whitelisthost", in: .session)
    /// Set, and not false: the sender is on a whitelist.
    public static let whitelistsender = NoteKey("whitelistsender", in: .transaction)
}

extension NoteKey<Bool> {
    /// The client spoke before it was spoken to.
    public static let earlytalker = NoteKey("earlytalker", in: .session)
    /// The recipient that is asked about is on a whitelist; from `data` on, all recipients are.
    public static let whitelistRecipient = NoteKey("whitelist_recipient", in: .transaction)
}
