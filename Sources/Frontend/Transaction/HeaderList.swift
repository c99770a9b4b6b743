/// The header fields of one message, in order, each under an id that never shifts.
///
/// Octets stay as they came: a field is its name (what stands before the colon), and its value (what
/// follows the colon, folding kept, without the last CRLF). Untouched fields written out again are
/// the octets that were read (RFC 5322 §2.2; DKIM signed them).
struct HeaderList: Equatable {
    struct Field: Equatable {
        let id: Int
        let name: [UInt8]
        var value: [UInt8]
    }

    private(set) var fields: [Field] = []
    private var nextID = 1

    init() {}

    /// Reads the fields at the start of `message`.
    ///
    /// The header section ends at the empty line, at the end of the octets, or at the first line
    /// that is neither a field nor the continuation of one; that line belongs to the body.
    ///
    /// `endOffset` is set to where the section ends: the empty line, where there is one,
    ///   comes after it.
    init(parsing message: borrowing Span<UInt8>, endOffset: inout Int) {
        var offset = 0
        while let field = Self.field(in: message, at: offset) {
            self.fields.append(
                Field(
                    id: self.nextID,
                    name: Self.octets(of: message, offset..<field.colon),
                    value: Self.octets(of: message, field.colon + 1..<field.end)
                )
            )
            self.nextID += 1
            offset = min(field.end + 2, message.count)
        }
        endOffset = offset
    }

    // MARK: - Edits

    func index(ofID id: Int) -> Int? { self.fields.firstIndex { $0.id == id } }

    /// Adds a field and returns its id.
    @discardableResult
    mutating func add(name: [UInt8], value: [UInt8], atTop: Bool) -> Int {
        let field = Field(id: self.nextID, name: name, value: value)
        self.nextID += 1
        if atTop { self.fields.insert(field, at: 0) } else { self.fields.append(field) }
        return field.id
    }

    /// Replaces the value of a field; false when no field has that id.
    mutating func set(id: Int, value: [UInt8]) -> Bool {
        guard let index = self.index(ofID: id) else { return false }
        self.fields[index].value = value
        return true
    }

    /// Removes a field; false when no field has that id.
    mutating func delete(id: Int) -> Bool {
        guard let index = self.index(ofID: id) else { return false }
        self.fields.remove(at: index)
        return true
    }

    /// Removes every field of that name, letter case ignored.
    mutating func deleteAll(name: [UInt8]) {
        self.fields.removeAll { Self.namesMatch($0.name, name) }
    }

    // MARK: - Octets

    /// The end of a field, and where its colon stands; `nil` when no field starts at `start`.
    ///
    /// `end` is the offset of the field's last CRLF, or the end of the octets.
    private static func field(
        in message: borrowing Span<UInt8>,
        at start: Int
    ) -> (colon: Int, end: Int)? {
        var colon = start
        // A name is printable and has no colon; white space before the colon is obsolete but seen.
        while colon < message.count, message[colon] != UInt8(ascii: ":") {
            let octet = message[colon]
            let isName = octet > 0x20 && octet < 0x7F
            let isTrailing = (octet == 0x20 || octet == 0x09) && colon > start
            guard isName || isTrailing else { return nil }
            colon += 1
        }
        guard colon > start, colon < message.count else { return nil }
        var end = colon + 1
        while true {
            end = self.lineEnd(in: message, from: end)
            let next = end + 2
            guard next < message.count, message[next] == 0x20 || message[next] == 0x09 else {
                return (colon, end)
            }
            end = next
        }
    }

    /// The offset of the next CRLF, or the end of the octets.
    private static func lineEnd(in message: borrowing Span<UInt8>, from start: Int) -> Int {
        var index = start
        while index + 1 < message.count {
            if message[index] == 0x0D, message[index + 1] == 0x0A { return index }
            index += 1
        }
        return message.count
    }

    private static func octets(of message: borrowing Span<UInt8>, _ range: Range<Int>) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
            for offset in range {
                buffer[count] = message[offset]
                count += 1
            }
        }
    }

    /// ASCII case-insensitive; white space before the colon does not count.
    static func namesMatch(_ lhs: [UInt8], _ rhs: [UInt8]) -> Bool {
        func trimmed(_ name: [UInt8]) -> ArraySlice<UInt8> {
            var name = name[...]
            while let last = name.last, last == 0x20 || last == 0x09 { name.removeLast() }
            return name
        }
        func lower(_ octet: UInt8) -> UInt8 { (0x41...0x5A).contains(octet) ? octet | 0x20 : octet }
        return trimmed(lhs).elementsEqual(trimmed(rhs)) { lower($0) == lower($1) }
    }
}
