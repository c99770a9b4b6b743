/// A JSON value of a plugin's own making: notes, which the protocol carries and never looks into.
public enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    /// Within ±(2^53 − 1).
    case int(Int64)
    /// Finite.
    case double(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// The member of that name; `nil` if this is no object or has no such member.
    public subscript(key: String) -> JSONValue? {
        if case .object(let members) = self { members[key] } else { nil }
    }

    /// This value with `patch` merged into it: a null deletes, an object merges, all else replaces.
    ///
    /// - Note: RFC 7396 §2.
    package func merging(_ patch: JSONValue) -> JSONValue {
        guard case .object(let changes) = patch else { return patch }
        var members: [String: JSONValue] = [:]
        if case .object(let own) = self { members = own }
        for (key, value) in changes {
            if value == .null {
                members[key] = nil
            } else {
                members[key] = (members[key] ?? .null).merging(value)
            }
        }
        return .object(members)
    }

    /// The patch that makes `after` of this value.
    ///
    /// - Returns: `nil` if they are equal.
    package func mergePatch(to after: JSONValue) -> JSONValue? {
        guard self != after else { return nil }
        guard case .object(let old) = self, case .object(let new) = after else { return after }
        var changes: [String: JSONValue] = [:]
        for key in old.keys where new[key] == nil { changes[key] = .null }
        for (key, value) in new {
            guard let before = old[key] else {
                changes[key] = value
                continue
            }
            changes[key] = before.mergePatch(to: value)
        }
        return .object(changes)
    }

    /// Whether the value as compact JSON is longer than `limit` octets.
    package func isLarger(than limit: Int) -> Bool {
        var writer = JSONWriter()
        self.encode(into: &writer)
        return writer.octets.count > limit
    }

    /// Writes the value; members in the order of their names, so that equal values are equal text.
    package func encode(into writer: inout JSONWriter) {
        switch self {
        case .null: writer.null()
        case .bool(let value): writer.bool(value)
        case .int(let value): writer.int(value)
        case .double(let value): writer.double(value)
        case .string(let value): writer.string(value)
        case .array(let values):
            writer.beginArray()
            for value in values { value.encode(into: &writer) }
            writer.endArray()
        case .object(let members):
            writer.beginObject()
            for (key, value) in members.sorted(by: { $0.key < $1.key }) {
                writer.key(escaping: key)
                value.encode(into: &writer)
            }
            writer.endObject()
        }
    }
}
