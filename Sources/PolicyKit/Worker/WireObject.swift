import JSON

/// An object of a received line, read member by member, strictly.
///
/// What is missing or of another type is an error: the frontend promised it.
struct WireObject {
    private let text: JSONObjectText

    init(_ text: JSONObjectText) {
        self.text = text
    }

    init(_ item: JSONItemText) throws {
        self.text = try item.object()
    }

    /// A member that is an object; `nil` if there is none or it is null.
    func object(_ key: StaticString) throws -> WireObject? {
        try self.text.object(key).map { WireObject($0) }
    }

    func requiredObject(_ key: StaticString) throws -> WireObject {
        try self.required(try self.object(key), key)
    }

    func string(_ key: StaticString) throws -> String? {
        try self.text.string(key)
    }

    func requiredString(_ key: StaticString) throws -> String {
        try self.required(try self.text.string(key), key)
    }

    func int(_ key: StaticString) throws -> Int64 {
        try self.required(try self.text.int(key), key)
    }

    func count(_ key: StaticString) throws -> Int {
        Int(clamping: try self.int(key))
    }

    func bool(_ key: StaticString) throws -> Bool {
        try self.required(try self.text.bool(key), key)
    }

    /// A member of type Bytes, in either of its forms; `nil` if there is none or it is null.
    func bytes(_ key: StaticString) throws -> Bytes? {
        guard let item = self.text[key], !item.isNull else { return nil }
        return Bytes(octets: try item.bytes())
    }

    func requiredBytes(_ key: StaticString) throws -> Bytes {
        try self.required(try self.bytes(key), key)
    }

    /// A member of any type; `nil` if there is none.
    func value(_ key: StaticString) throws -> JSONValue? {
        try self.text.value(key)
    }

    /// The elements of a member that is a list; `nil` if there is none or it is null.
    func list(_ key: StaticString) throws -> JSONListText? {
        try self.text.list(key)
    }

    func requiredList(_ key: StaticString) throws -> JSONListText {
        try self.required(try self.text.list(key), key)
    }

    private func required<Value>(_ value: Value?, _ key: StaticString) throws -> Value {
        guard let value else { throw self.problem(key) }
        return value
    }

    private func problem(_ key: StaticString) -> PluginError {
        PluginError("the event's member \(key) is missing or of another type")
    }
}
