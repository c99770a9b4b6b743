import JSON

/// An object of a received line, read member by member, strictly.
///
/// What is missing or of another type is an error: the frontend promised it.
struct WireObject {
    private let text: JSONObjectText

    init(_ text: JSONObjectText) {
        self.text = text
    }

    /// A member that is an object; `nil` if there is none or it is null.
    func object(_ key: StaticString) throws -> WireObject? {
        guard let raw = self.text.raw(key), raw.first != UInt8(ascii: "n") else { return nil }
        return WireObject(try JSONObjectText(Array(raw)))
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
        switch self.text.raw(key)?.first {
        case UInt8(ascii: "t"): true
        case UInt8(ascii: "f"): false
        default: throw self.problem(key)
        }
    }

    /// A member of type Bytes, in either of its forms; `nil` if there is none or it is null.
    func bytes(_ key: StaticString) throws -> Bytes? {
        guard self.text.raw(key)?.first == UInt8(ascii: "{") else {
            return try self.text.utf8(key).map { Bytes(octets: $0) }
        }
        let encoded = try self.requiredObject(key).requiredString("b64")
        guard let octets = Base64.decode(encoded) else { throw self.problem(key) }
        return Bytes(octets: octets)
    }

    func requiredBytes(_ key: StaticString) throws -> Bytes {
        try self.required(try self.bytes(key), key)
    }

    /// A member of any type; `nil` if there is none.
    func value(_ key: StaticString) throws -> JSONValue? {
        try self.text.value(key)
    }

    /// The elements of a member that is a list; `nil` if there is none.
    func list(_ key: StaticString) throws -> [JSONValue]? {
        switch try self.text.value(key) {
        case .array(let values): values
        case nil, .null: nil
        default: throw self.problem(key)
        }
    }

    private func required<Value>(_ value: Value?, _ key: StaticString) throws -> Value {
        guard let value else { throw self.problem(key) }
        return value
    }

    private func problem(_ key: StaticString) -> PluginError {
        PluginError("the event's member \(key) is missing or of another type")
    }
}

extension JSONValue {
    /// A value of type Bytes, in either of its forms.
    func bytes() throws -> Bytes {
        switch self {
        case .string(let text):
            return Bytes(text)

        case .object(let members):
            guard case .string(let text)? = members["b64"], members.count == 1,
                let octets = Base64.decode(text)
            else { break }
            return Bytes(octets: octets)

        default:
            break
        }
        throw PluginError("a value of the event is of another type")
    }

    func bytes(_ key: String) throws -> Bytes {
        try (self[key] ?? .null).bytes()
    }

    func optionalBytes(_ key: String) throws -> Bytes? {
        guard let value = self[key], value != .null else { return nil }
        return try value.bytes()
    }

    func int(_ key: String) throws -> Int64 {
        guard case .int(let value)? = self[key] else {
            throw PluginError("the event's member \(key) is missing or of another type")
        }
        return value
    }
}
