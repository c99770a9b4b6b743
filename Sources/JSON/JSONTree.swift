import CJSONC

/// json-c's tree, read into values; no pointer of json-c's leaves this file.
///
/// What json-c lets pass that is no I-JSON is refused by ``JSONScanner`` before it comes here, and its
/// getters, which turn one type into another, are asked only after the type.
enum JSONTree {
    /// Parses checked text of an object or a list.
    static func parse(_ octets: [UInt8], _ place: Range<Int>) throws(JSONError) -> JSONValue {
        let tokener = json_tokener_new_ex(CInt(JSONScanner.maximumDepth))
        defer { json_tokener_free(tokener) }
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT)
        let root: OpaquePointer? = octets.withUnsafeBytes { text in
            let slice = UnsafeRawBufferPointer(rebasing: text[place])
            let start = slice.baseAddress?.assumingMemoryBound(to: CChar.self)
            return json_tokener_parse_ex(tokener, start, CInt(clamping: slice.count))
        }
        defer { json_object_put(root) }
        guard json_tokener_get_error(tokener) == json_tokener_success,
            json_tokener_get_parse_end(tokener) == place.count
        else { throw JSONError(.frame_not_json, at: place.lowerBound) }
        return try self.value(root)
    }

    /// Nesting is bounded by the check, and so is this recursion.
    private static func value(_ node: OpaquePointer?) throws(JSONError) -> JSONValue {
        switch json_object_get_type(node) {
        case json_type_null: return .null
        case json_type_boolean: return .bool(json_object_get_boolean(node) != 0)
        case json_type_int: return .int(json_object_get_int64(node))
        case json_type_double:
            let value = json_object_get_double(node)
            guard value.isFinite else { throw JSONError(.frame_number) }
            return .double(value)
        case json_type_string: return .string(self.text(node))
        case json_type_array:
            let count = json_object_array_length(node)
            var values: [JSONValue] = []
            values.reserveCapacity(count)
            for index in 0..<count {
                values.append(try self.value(json_object_array_get_idx(node, index)))
            }
            return .array(values)
        case json_type_object: return .object(try self.members(node))
        default: throw JSONError(.frame_not_json)
        }
    }

    /// By its length: a string may hold U+0000.
    private static func text(_ node: OpaquePointer?) -> String {
        let start = json_object_get_string(node)
        let count = Int(json_object_get_string_len(node))
        return String(decoding: UnsafeRawBufferPointer(start: start, count: count), as: UTF8.self)
    }

    private static func members(
        _ node: OpaquePointer?
    ) throws(JSONError) -> [String: JSONValue] {
        var members: [String: JSONValue] = [:]
        var entry = json_object_get_object(node)?.pointee.head
        while let current = entry {
            entry = current.pointee.next
            guard let key = lh_entry_k(current) else { continue }
            let name = String(cString: key.assumingMemoryBound(to: CChar.self))
            // Swift compares strings by what they look like: two keys that differ only in their
            // composition would become one, and which of them would be a matter of chance.
            guard members[name] == nil else { throw JSONError(.frame_duplicate_key) }
            members[name] = try self.value(lh_entry_v(current).map { OpaquePointer($0) })
        }
        return members
    }
}
