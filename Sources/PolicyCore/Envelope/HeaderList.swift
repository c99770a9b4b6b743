import JSON
import Octets
import SMTPCore

/// The header fields of one message, in order, each under an id that never shifts.
///
/// Octets stay as they came: a field is its name, the white space between name and colon if there is
/// any, and its value (what follows the colon, folding kept, without the last CRLF). Untouched fields
/// written out again are the octets that were read (RFC 5322 §2.2; DKIM signed them).
///
/// The octets that came are one array that is shared and never changed, those that policy wrote
/// another; a field is where its parts stand in them. A header costs its octets and little more.
struct HeaderList {
    /// Octets of one of the two arrays.
    private struct Part {
        let start: Int
        let count: Int
        let isWritten: Bool

        init(received range: Range<Int>) {
            self.start = range.lowerBound
            self.count = range.count
            self.isWritten = false
        }

        init(writing octets: [UInt8], to array: inout [UInt8]) {
            self.start = array.count
            self.count = octets.count
            self.isWritten = true
            array += octets
        }

        var range: Range<Int> { self.start..<self.start + self.count }
    }

    private struct Entry {
        let id: Int
        let name: Part
        /// The white space between the name and the colon.
        var space: Part
        var value: Part
    }

    private let received: [UInt8]
    private var written: [UInt8] = []
    private var entries: [Entry] = []
    /// The id of the next field that is added.
    private(set) var nextID: Int

    /// Reads a header section: all of its octets are fields.
    ///
    /// `firstID` is the id of the first field, the others follow.
    init(section: [UInt8] = [], firstID: Int = 1) {
        self.received = section
        self.nextID = firstID
        let octets = section.span
        var offset = 0
        while let field = HeaderGrammar.field(in: octets, at: offset) {
            self.entries.append(
                Entry(
                    id: self.nextID,
                    name: Part(received: offset..<field.nameEnd),
                    space: Part(received: field.nameEnd..<field.colon),
                    value: Part(received: field.colon + 1..<field.end)
                )
            )
            self.nextID += 1
            offset = min(field.end + 2, section.count)
        }
    }

    var count: Int { self.entries.count }

    /// Octets of memory that it holds, besides those that came.
    var heldOctets: Int { self.written.count + self.entries.count * MemoryLayout<Entry>.stride }

    // MARK: - Edits

    /// Adds a field and returns its id.
    @discardableResult
    mutating func add(name: [UInt8], value: [UInt8], atTop: Bool) -> Int {
        let entry = Entry(
            id: self.nextID,
            name: Part(writing: name, to: &self.written),
            space: Part(received: 0..<0),
            value: Part(writing: value, to: &self.written)
        )
        self.nextID += 1
        self.entries.insert(entry, at: atTop ? 0 : self.entries.count)
        return entry.id
    }

    /// Replaces the value of a field; false when no field has that id.
    mutating func set(id: Int, value: [UInt8]) -> Bool {
        guard let index = self.index(ofID: id) else { return false }
        self.entries[index].space = Part(received: 0..<0)
        self.entries[index].value = Part(writing: value, to: &self.written)
        return true
    }

    /// Removes a field; false when no field has that id.
    mutating func delete(id: Int) -> Bool {
        guard let index = self.index(ofID: id) else { return false }
        self.entries.remove(at: index)
        return true
    }

    /// Removes every field of that name, letter case ignored.
    mutating func deleteAll(name: [UInt8]) {
        let (received, written) = (self.received, self.written)
        self.entries.removeAll { entry in
            guard entry.name.count == name.count else { return false }
            let octets = entry.name.isWritten ? written : received
            return name.indices.allSatisfy { index in
                name[index].lowerCased == octets[entry.name.start + index].lowerCased
            }
        }
    }

    private func index(ofID id: Int) -> Int? { self.entries.firstIndex { $0.id == id } }

    // MARK: - Octets

    /// The field with this id; `nil` when there is none.
    func text(ofID id: Int) -> WrittenField? {
        guard let index = self.index(ofID: id) else { return nil }
        let entry = self.entries[index]
        return WrittenField(
            nameOctets: entry.name.count,
            value: Array(self.octets(of: entry.value))
        )
    }

    /// Whether a field has exactly this value.
    func contains(_ value: [UInt8]) -> Bool {
        self.entries.contains { entry in
            entry.value.count == value.count && self.octets(of: entry.value).elementsEqual(value)
        }
    }

    private func octets(of part: Part) -> ArraySlice<UInt8> {
        part.isWritten ? self.written[part.range] : self.received[part.range]
    }

    /// The section as a next hop gets it.
    var octets: [UInt8] {
        self.entries.reduce(into: []) { octets, entry in
            octets += self.octets(of: entry.name)
            octets += self.octets(of: entry.space)
            octets.append(UInt8(ascii: ":"))
            octets += self.octets(of: entry.value)
            octets += [0x0D, 0x0A]
        }
    }

    // MARK: - JSON

    /// Octets that the fields take in an event, at least.
    var leastEncodedOctets: Int {
        self.entries.reduce(0) { $0 + $1.name.count + $1.value.count + Self.leastOverhead }
    }

    /// Octets of `{"id":1,"name":"","value":""}`.
    private static let leastOverhead = 29

    /// Octets that the fields as they came take in an event, at most.
    ///
    /// - Complexity: O(*n*); nothing is written, and ordinary headers are not looked at: `limit` is
    ///   what is interesting.
    func encodedOctets(upTo limit: Int) -> Int {
        let fields = self.entries.count * Self.fieldOverhead
        // An octet takes six at most, as \u0001.
        guard self.received.count > (limit - fields) / 6 else {
            return self.received.count * 6 + fields
        }
        return self.received.reduce(fields) { octets, octet in
            switch octet {
            // Two for what is escaped by a backslash, and for base64.
            case 0x09, 0x0A, 0x0D, UInt8(ascii: "\""), UInt8(ascii: "\\"), 0x7F...: octets + 2
            case ..<0x20: octets + 6
            default: octets + 1
            }
        }
    }

    /// Octets of `,{"id":123456,"name":{"b64":""},"space":"","value":{"b64":""}}`.
    private static let fieldOverhead = 64

    /// Writes the list as it stands in an event (protocol/events.md).
    func encode(into writer: inout JSONWriter) {
        writer.beginArray()
        for entry in self.entries {
            writer.beginObject()
            writer.key("id")
            writer.int(Int64(entry.id))
            writer.key("name")
            self.encode(entry.name, into: &writer)
            if entry.space.count > 0 {
                writer.key("space")
                self.encode(entry.space, into: &writer)
            }
            writer.key("value")
            self.encode(entry.value, into: &writer)
            writer.endObject()
        }
        writer.endArray()
    }

    private func encode(_ part: Part, into writer: inout JSONWriter) {
        self.octets(of: part).withUnsafeBufferPointer { writer.bytes($0) }
    }
}
