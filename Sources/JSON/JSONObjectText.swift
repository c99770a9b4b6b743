import Octets

/// An object in a checked line.
///
/// A member is read when it is asked for.
///
/// The text has passed the strict check, so each key exists once. An object inside another shares
/// its line: to read it costs no second pass and no copy.
package struct JSONObjectText: Sendable {
    private let line: JSONLine
    private let index: Int

    /// Checks a whole line, without its LF.
    ///
    /// - Throws: ``JSONError`` unless `octets` is one object of I-JSON within the limits.
    package init(_ octets: [UInt8]) throws(JSONError) {
        self.line = try JSONLine(octets)
        self.index = 0
        guard self.line.kind(0) == .object else { throw JSONError(.frame_not_object) }
    }

    fileprivate init(line: JSONLine, index: Int) {
        self.line = line
        self.index = index
    }

    /// The whole line, of which this object may be a part.
    package var octets: [UInt8] { self.line.octets }

    /// A member of any type; `nil` if there is none.
    package subscript(key: StaticString) -> JSONItemText? {
        self.line.member(key, of: self.index).map { JSONItemText(line: self.line, index: $0) }
    }

    /// Where a member's value is noted; `nil` if there is none or it is null.
    @inline(__always)
    private func present(_ key: StaticString) -> Int? {
        guard let index = self.line.member(key, of: self.index), self.line.kind(index) != .null
        else { return nil }
        return index
    }

    /// Whether there is such a member, null included.
    package func contains(_ key: StaticString) -> Bool {
        self.line.member(key, of: self.index) != nil
    }

    /// The text of a member's value, as it stands; `nil` if there is none.
    package func raw(_ key: StaticString) -> ArraySlice<UInt8>? { self[key]?.raw }

    /// An integer member; `nil` if there is none or it is null.
    ///
    /// - Throws: ``JSONError`` if it is anything else, a fraction or exponent included.
    package func int(_ key: StaticString) throws(JSONError) -> Int64? {
        guard let index = self.present(key) else { return nil }
        return try self.line.int(index)
    }

    /// A boolean member; `nil` if there is none or it is null.
    ///
    /// - Throws: ``JSONError`` if it is anything else.
    package func bool(_ key: StaticString) throws(JSONError) -> Bool? {
        guard let index = self.present(key) else { return nil }
        return try self.line.bool(index)
    }

    /// A string member's octets; `nil` if there is none or it is null.
    ///
    /// - Throws: ``JSONError`` if it is no string.
    package func utf8(_ key: StaticString) throws(JSONError) -> [UInt8]? {
        guard let index = self.present(key) else { return nil }
        return try self.line.utf8(index)
    }

    /// A string member; `nil` if there is none or it is null.
    ///
    /// - Throws: ``JSONError`` if it is no string.
    package func string(_ key: StaticString) throws(JSONError) -> String? {
        guard let index = self.present(key) else { return nil }
        return try self.line.string(index)
    }

    /// A member that is an object; `nil` if there is none or it is null.
    ///
    /// - Throws: ``JSONError`` if it is anything else.
    package func object(_ key: StaticString) throws(JSONError) -> JSONObjectText? {
        guard let index = self.present(key) else { return nil }
        return try JSONItemText(line: self.line, index: index).object()
    }

    /// A member that is a list; `nil` if there is none or it is null.
    ///
    /// - Throws: ``JSONError`` if it is anything else.
    package func list(_ key: StaticString) throws(JSONError) -> JSONListText? {
        guard let index = self.present(key) else { return nil }
        return try JSONItemText(line: self.line, index: index).list()
    }

    /// A member of any type, parsed; `nil` if there is none.
    package func value(_ key: StaticString) throws(JSONError) -> JSONValue? {
        guard let item = self[key] else { return nil }
        return try item.value()
    }
}

/// One value of a checked line.
package struct JSONItemText: Sendable {
    private let line: JSONLine
    private let index: Int

    fileprivate init(line: JSONLine, index: Int) {
        self.line = line
        self.index = index
    }

    package var isNull: Bool { self.line.kind(self.index) == .null }
    package var isString: Bool { self.line.kind(self.index) == .string }
    package var isObject: Bool { self.line.kind(self.index) == .object }

    private func wrongType() -> JSONError { self.line.wrongType(self.index) }

    /// The text as it stands.
    package var raw: ArraySlice<UInt8> { self.line.octets[self.line.rawPlace(self.index)] }

    /// - Throws: ``JSONError`` unless it is a number without fraction and exponent.
    package func int() throws(JSONError) -> Int64 { try self.line.int(self.index) }

    /// - Throws: ``JSONError`` unless it is true or false.
    package func bool() throws(JSONError) -> Bool { try self.line.bool(self.index) }

    /// - Throws: ``JSONError`` unless it is a string.
    package func utf8() throws(JSONError) -> [UInt8] { try self.line.utf8(self.index) }

    /// - Throws: ``JSONError`` unless it is a string.
    package func string() throws(JSONError) -> String { try self.line.string(self.index) }

    /// Whether it is the string `word`, however spelled.
    package func equals(_ word: StaticString) -> Bool {
        self.isString && self.line.isSpelled(self.index, word)
    }

    /// Which of `words` it is, however spelled; `nil` if none, or no string.
    package func index(in words: [StaticString]) -> Int? {
        guard self.isString else { return nil }
        return words.firstIndex { self.line.isSpelled(self.index, $0) }
    }

    /// A value of type Bytes, in either of its forms: a string, or base64 in an object of one
    /// member.
    ///
    /// - Throws: ``JSONError`` if it is anything else, or base64 that is not canonical.
    package func bytes() throws(JSONError) -> [UInt8] {
        guard self.isObject else { return try self.utf8() }
        let object = try self.object()
        guard self.line.tape.entries[self.index].next == UInt32(self.index) + 3,
            let text = object["b64"], let octets = Base64.decode(try text.utf8())
        else { throw self.wrongType() }
        return octets
    }

    /// - Throws: ``JSONError`` unless it is an object.
    package func object() throws(JSONError) -> JSONObjectText {
        guard self.isObject else { throw self.wrongType() }
        return JSONObjectText(line: self.line, index: self.index)
    }

    /// - Throws: ``JSONError`` unless it is a list.
    package func list() throws(JSONError) -> JSONListText {
        guard self.line.kind(self.index) == .array else { throw self.wrongType() }
        return JSONListText(line: self.line, index: self.index)
    }

    /// The value, whatever it is; json-c parses what has members.
    package func value() throws(JSONError) -> JSONValue {
        switch self.line.kind(self.index) {
        case .null: return .null
        case .true: return .bool(true)
        case .false: return .bool(false)
        case .integer: return .int(try self.int())
        case .double:
            guard let value = self.line.withText(of: self.index, { JSONNumber.double($0) }) else {
                throw self.wrongType()
            }
            return .double(value)
        case .string: return .string(try self.string())
        case .object where self.isEmpty: return .object([:])
        case .array where self.isEmpty: return .array([])
        case .object, .array, .key:
            return try JSONTree.parse(self.line.octets, self.line.rawPlace(self.index))
        }
    }

    private var isEmpty: Bool {
        Int(self.line.tape.entries[self.index].next) == self.index + 1
    }
}

/// The elements of a list, in order.
package struct JSONListText: Sequence, Sendable {
    private let line: JSONLine
    private let index: Int

    fileprivate init(line: JSONLine, index: Int) {
        self.line = line
        self.index = index
    }

    /// How many elements; counted by walking over them.
    package var count: Int { self.reduce(0) { count, _ in count + 1 } }

    package func makeIterator() -> Iterator {
        Iterator(line: self.line, position: self.index + 1, end: self.line.end(self.index))
    }

    /// Steps from element to element, over what they hold.
    package struct Iterator: IteratorProtocol {
        fileprivate let line: JSONLine
        fileprivate var position: Int
        fileprivate let end: Int

        package mutating func next() -> JSONItemText? {
            guard self.position < self.end else { return nil }
            defer { self.position = self.line.end(self.position) }
            return JSONItemText(line: self.line, index: self.position)
        }
    }
}

extension JSONValue {
    /// Parses a text of one value, of any type.
    ///
    /// - Throws: ``JSONError`` unless it is I-JSON within the limits.
    package init(parsing octets: [UInt8]) throws(JSONError) {
        self = try JSONItemText(line: JSONLine(octets), index: 0).value()
    }
}

/// A checked text and what was found in it; never changes.
private struct JSONLine: Sendable {
    let octets: [UInt8]
    let tape: JSONTape

    init(_ octets: [UInt8]) throws(JSONError) {
        self.octets = octets
        self.tape = try octets.withUnsafeBufferPointer { text throws(JSONError) in
            try JSONScanner.scan(text)
        }
    }

    func kind(_ index: Int) -> JSONTape.Kind { self.tape.entries[index].kind }

    /// The entry after this value and everything in it.
    func end(_ index: Int) -> Int { Int(self.tape.entries[index].next) }

    /// Where a value stands, a string with its quotes.
    func rawPlace(_ index: Int) -> Range<Int> {
        let place = self.tape.entries[index].place
        return self.kind(index) == .string ? place.lowerBound - 1..<place.upperBound + 1 : place
    }

    func withText<Result>(
        of index: Int,
        _ body: (UnsafeBufferPointer<UInt8>) -> Result
    ) -> Result {
        self.octets.withUnsafeBufferPointer { text in
            body(UnsafeBufferPointer(rebasing: text[self.tape.entries[index].place]))
        }
    }

    /// The value of a member of the object at `object`.
    func member(_ key: StaticString, of object: Int) -> Int? {
        self.octets.withUnsafeBufferPointer { text in
            self.tape.entries.withUnsafeBufferPointer { entries in
                let end = Int(entries[object].next)
                var index = object + 1
                while index + 1 < end {
                    if Self.isSpelled(entries[index], key, in: text) { return index + 1 }
                    index = Int(entries[index + 1].next)
                }
                return nil
            }
        }
    }

    /// Whether a string or key is `word`.
    func isSpelled(_ index: Int, _ word: StaticString) -> Bool {
        self.octets.withUnsafeBufferPointer {
            Self.isSpelled(self.tape.entries[index], word, in: $0)
        }
    }

    @inline(__always)
    private static func isSpelled(
        _ entry: JSONTape.Entry,
        _ word: StaticString,
        in text: UnsafeBufferPointer<UInt8>
    ) -> Bool {
        guard entry.hasEscape else {
            return Int(entry.end - entry.start) == word.utf8CodeUnitCount
                && OctetSearch.isAt(word, in: text, from: Int(entry.start))
        }
        let spelled = JSONEscapes.resolved(UnsafeBufferPointer(rebasing: text[entry.place]))
        return spelled.elementsEqual(
            UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount)
        )
    }
}

// MARK: - Scalars

extension JSONLine {
    func wrongType(_ index: Int) -> JSONError {
        JSONError(.wrong_type, at: Int(self.tape.entries[index].start))
    }

    func int(_ index: Int) throws(JSONError) -> Int64 {
        guard self.kind(index) == .integer,
            let value = self.withText(of: index, { JSONNumber.int($0) })
        else { throw self.wrongType(index) }
        return value
    }

    func bool(_ index: Int) throws(JSONError) -> Bool {
        switch self.kind(index) {
        case .true: return true
        case .false: return false
        case .object, .array, .string, .integer, .double, .null, .key:
            throw self.wrongType(index)
        }
    }

    func utf8(_ index: Int) throws(JSONError) -> [UInt8] {
        guard self.kind(index) == .string else { throw self.wrongType(index) }
        return self.withText(of: index) { text in
            self.tape.entries[index].hasEscape ? JSONEscapes.resolved(text) : Array(text)
        }
    }

    func string(_ index: Int) throws(JSONError) -> String {
        guard self.kind(index) == .string else { throw self.wrongType(index) }
        return self.withText(of: index) { text in
            self.tape.entries[index].hasEscape
                ? String(decoding: JSONEscapes.resolved(text), as: UTF8.self)
                : String(decoding: text, as: UTF8.self)
        }
    }
}
