import CJSONC

/// One checked line: an object whose members are parsed when somebody asks for them.
///
/// The text has passed the strict check, so what is asked for exists once and is what it says.
package struct JSONObjectText: Sendable {
    /// The whole line, without its LF.
    package let octets: [UInt8]
    private let members: [Member]

    private struct Member: Sendable {
        let key: Range<Int>
        let value: Range<Int>
    }

    /// - Throws: ``JSONError`` unless `octets` is one object of I-JSON within the limits.
    package init(_ octets: [UInt8]) throws(JSONError) {
        self.octets = octets
        var members: [Member] = []
        var failure: JSONError?
        octets.withUnsafeBufferPointer { text in
            var scanner = JSONScanner(text)
            do throws(JSONError) {
                try scanner.scan()
                members = scanner.members.map { Member(key: $0.key, value: $0.value) }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        self.members = members
    }

    /// The place of a member's value; `nil` if there is none.
    private func place(of key: StaticString) -> Range<Int>? {
        let wanted = UnsafeBufferPointer(start: key.utf8Start, count: key.utf8CodeUnitCount)
        return self.members.first { member in
            let key = self.octets[member.key]
            guard key.count > wanted.count else { return key.elementsEqual(wanted) }
            return Self.isEscapedSpelling(key, of: wanted)
        }?.value
    }

    /// Whether a key longer than `wanted` spells it with escapes.
    private static func isEscapedSpelling(
        _ key: ArraySlice<UInt8>,
        of wanted: UnsafeBufferPointer<UInt8>
    ) -> Bool {
        guard key.contains(UInt8(ascii: "\\")) else { return false }
        return key.withUnsafeBufferPointer { JSONText.unescaped($0).elementsEqual(wanted) }
    }

    /// Whether there is such a member, null included.
    package func contains(_ key: StaticString) -> Bool { self.place(of: key) != nil }

    /// The text of a member's value, as it stands; `nil` if there is none.
    package func raw(_ key: StaticString) -> ArraySlice<UInt8>? {
        self.place(of: key).map { self.octets[$0] }
    }

    /// An integer member; `nil` if there is none or it is null.
    ///
    /// - Throws: ``JSONError`` if it is anything else, a fraction or exponent included.
    package func int(_ key: StaticString) throws(JSONError) -> Int64? {
        guard let place = self.present(key) else { return nil }
        let value = self.octets.withUnsafeBufferPointer { text in
            JSONNumber.int(UnsafeBufferPointer(rebasing: text[place]))
        }
        guard let value else { throw JSONError(.wrong_type, at: place.lowerBound) }
        return value
    }

    /// A boolean member; `nil` if there is none or it is null.
    ///
    /// - Throws: ``JSONError`` if it is anything else.
    package func bool(_ key: StaticString) throws(JSONError) -> Bool? {
        guard let place = self.present(key) else { return nil }
        switch self.octets[place.lowerBound] {
        case UInt8(ascii: "t"): return true
        case UInt8(ascii: "f"): return false
        default: throw JSONError(.wrong_type, at: place.lowerBound)
        }
    }

    /// A string member's octets; `nil` if there is none or it is null.
    ///
    /// - Throws: ``JSONError`` if it is no string.
    package func utf8(_ key: StaticString) throws(JSONError) -> [UInt8]? {
        guard let place = self.present(key) else { return nil }
        guard self.octets[place.lowerBound] == UInt8(ascii: "\"") else {
            throw JSONError(.wrong_type, at: place.lowerBound)
        }
        return self.octets.withUnsafeBufferPointer { text in
            let inner = UnsafeBufferPointer(
                rebasing: text[place.lowerBound + 1..<place.upperBound - 1]
            )
            return inner.contains(UInt8(ascii: "\\")) ? JSONText.unescaped(inner) : Array(inner)
        }
    }

    /// A string member; `nil` if there is none or it is null.
    package func string(_ key: StaticString) throws(JSONError) -> String? {
        try self.utf8(key).map { String(decoding: $0, as: UTF8.self) }
    }

    /// A member of any type, parsed by json-c; `nil` if there is none.
    package func value(_ key: StaticString) throws(JSONError) -> JSONValue? {
        guard let place = self.place(of: key) else { return nil }
        return try JSONTree.parse(self.octets, place)
    }

    /// A member's place, unless it is null.
    private func present(_ key: StaticString) -> Range<Int>? {
        guard let place = self.place(of: key), self.octets[place.lowerBound] != UInt8(ascii: "n")
        else {
            return nil
        }
        return place
    }
}

extension JSONValue {
    /// Parses a text of one value; an object or array, or a scalar.
    ///
    /// - Throws: ``JSONError`` unless it is I-JSON within the limits.
    package init(parsing octets: [UInt8]) throws(JSONError) {
        // Wrapped, so that one check serves objects and scalars; the wrapper costs no level.
        let wrapped = Array(#"{"v":"#.utf8) + octets + Array("}".utf8)
        guard let value = try JSONObjectText(wrapped).value("v") else {
            throw JSONError(.frame_not_json)
        }
        self = value
    }
}

/// json-c's tree, read into values; no pointer of json-c's leaves this file.
enum JSONTree {
    /// Parses checked text, of any type.
    static func parse(_ octets: [UInt8], _ place: Range<Int>) throws(JSONError) -> JSONValue {
        let tokener = json_tokener_new_ex(CInt(JSONScanner.maximumDepth))
        defer { json_tokener_free(tokener) }
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT)
        let root: OpaquePointer? = octets.withUnsafeBytes { text in
            // A bare number waits for more: the octet behind it, or a space, ends it.
            let slice = UnsafeRawBufferPointer(rebasing: text[place])
            let pointer = slice.baseAddress?.assumingMemoryBound(to: CChar.self)
            let node = json_tokener_parse_ex(tokener, pointer, CInt(clamping: slice.count))
            guard json_tokener_get_error(tokener) == json_tokener_continue else { return node }
            return json_tokener_parse_ex(tokener, " ", 1)
        }
        guard json_tokener_get_error(tokener) == json_tokener_success else {
            json_object_put(root)
            throw JSONError(.frame_not_json, at: place.lowerBound)
        }
        defer { json_object_put(root) }
        return try self.value(root)
    }

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
            var values: [JSONValue] = []
            for index in 0..<json_object_array_length(node) {
                values.append(try self.value(json_object_array_get_idx(node, index)))
            }
            return .array(values)
        case json_type_object: return .object(try self.members(node))
        default: throw JSONError(.frame_not_json)
        }
    }

    private static func text(_ node: OpaquePointer?) -> String {
        let start = json_object_get_string(node)
        let octets = UnsafeRawBufferPointer(
            start: start,
            count: Int(json_object_get_string_len(node))
        )
        return String(decoding: octets, as: UTF8.self)
    }

    private static func members(_ node: OpaquePointer?) throws(JSONError) -> [String: JSONValue] {
        var members: [String: JSONValue] = [:]
        var entry = json_object_get_object(node)?.pointee.head
        while let current = entry {
            if let key = lh_entry_k(current) {
                let name = String(cString: key.assumingMemoryBound(to: CChar.self))
                members[name] = try self.value(lh_entry_v(current).map { OpaquePointer($0) })
            }
            entry = current.pointee.next
        }
        return members
    }
}
