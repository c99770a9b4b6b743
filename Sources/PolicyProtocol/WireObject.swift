package import JSON

/// An object of a received line, read member by member, strictly.
///
/// What is missing or of another type is an error: the frontend promised it.
package struct WireObject {
    private let text: JSONObjectText

    package init(_ text: JSONObjectText) {
        self.text = text
    }

    package init(_ item: JSONItemText) throws {
        self.text = try item.object()
    }

    /// A member that is an object; `nil` if there is none or it is null.
    package func object(_ key: StaticString) throws -> WireObject? {
        try self.text.object(key).map { WireObject($0) }
    }

    package func requiredObject(_ key: StaticString) throws -> WireObject {
        try self.required(try self.object(key), key)
    }

    package func string(_ key: StaticString) throws -> String? {
        try self.text.string(key)
    }

    package func requiredString(_ key: StaticString) throws -> String {
        try self.required(try self.text.string(key), key)
    }

    package func int(_ key: StaticString) throws -> Int64 {
        try self.required(try self.text.int(key), key)
    }

    /// A member that is an integer; `nil` if there is none or it is null.
    package func intIfAny(_ key: StaticString) throws -> Int64? { try self.text.int(key) }

    package func count(_ key: StaticString) throws -> Int {
        Int(clamping: try self.int(key))
    }

    package func bool(_ key: StaticString) throws -> Bool {
        try self.required(try self.text.bool(key), key)
    }

    /// The octets of a member of type Bytes, in either of its forms; `nil` if there is none or it is
    /// null.
    package func octets(_ key: StaticString) throws -> [UInt8]? {
        guard let item = self.text[key], !item.isNull else { return nil }
        return try item.bytes()
    }

    /// A member of any type; `nil` if there is none.
    package func value(_ key: StaticString) throws -> JSONValue? {
        try self.text.value(key)
    }

    /// The elements of a member that is a list; `nil` if there is none or it is null.
    package func list(_ key: StaticString) throws -> JSONListText? {
        try self.text.list(key)
    }

    package func requiredList(_ key: StaticString) throws -> JSONListText {
        try self.required(try self.text.list(key), key)
    }

    private func required<Value>(_ value: Value?, _ key: StaticString) throws -> Value {
        guard let value else { throw MissingMember(key: key) }
        return value
    }
}

/// A member that every message of its kind has is not there, or is of another type.
package struct MissingMember: Error, CustomStringConvertible {
    package let key: StaticString

    package init(key: StaticString) { self.key = key }

    package var description: String {
        "the event's member \(self.key) is missing or of another type"
    }
}
