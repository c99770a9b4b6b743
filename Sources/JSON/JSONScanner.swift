/// Checks one text against I-JSON and the protocol's limits, in one pass and before json-c sees it.
///
/// json-c lets NaN, duplicate keys, raw control octets, lone surrogates and overlong UTF-8 pass and
/// cuts a key at `\u0000`; this does not. It builds no values: it writes down where keys and values
/// are (``JSONTape``), so that only the values that are asked for are read.
///
/// It is one loop without recursion, so that the offset stays in a register: it reads every line
/// from every worker.
///
/// - Note: RFC 8259, RFC 7493.
struct JSONScanner {
    /// Nesting allowed, the outermost value included (protocol/README.md §1).
    static let maximumDepth = 32

    private let text: UnsafeBufferPointer<UInt8>

    /// Reads the whole text: one value and nothing else but white space.
    static func scan(_ text: UnsafeBufferPointer<UInt8>) throws(JSONError) -> JSONTape {
        guard text.count < Int32.max else { throw JSONError(.frame_not_json) }
        guard OctetSearch.isUTF8(text) else { throw JSONError(.frame_not_utf8) }
        let scanner = Self(text: text)
        // An entry takes two octets, but for the brackets that are open; most take six and more.
        let most = text.count / 2 + self.maximumDepth + 2
        if let tape = try scanner.scan(capacity: min(most, text.count / 5 + 16)) { return tape }
        guard let tape = try scanner.scan(capacity: most) else { throw JSONError(.frame_not_json) }
        return tape
    }

    /// - Returns: `nil` if there are more than `capacity` entries.
    private func scan(capacity: Int) throws(JSONError) -> JSONTape? {
        var problem: JSONError?
        var isComplete = true
        let entries = [JSONTape.Entry](unsafeUninitializedCapacity: capacity) { buffer, count in
            withUnsafeTemporaryAllocation(of: KeyFilter.self, capacity: Self.maximumDepth + 1) {
                filters in
                filters.initialize(repeating: KeyFilter())
                var tape = TapeWriter(buffer)
                do throws(JSONError) { try self.scan(into: &tape, filters) } catch {
                    problem = error
                }
                isComplete = !tape.isFull
                count = tape.count
            }
        }
        guard isComplete else { return nil }
        if let problem { throw problem }
        return JSONTape(entries: entries)
    }

    /// Reads everything, with a filter for each depth, of which 0 is unused.
    ///
    /// - Throws: ``JSONError``, or when the tape is full.
    private func scan(
        into tape: inout TapeWriter,
        _ filters: UnsafeMutableBufferPointer<KeyFilter>
    ) throws(JSONError) {
        var offset = 0
        var depth = 0
        /// The object or array that is open, -1 for none; a place in the tape.
        var container = -1
        var isObject = false
        self.skipSpace(&offset)
        while true {
            // A value, or the first bracket of one.
            guard offset < self.text.count else { throw self.notJSON(offset) }
            let octet = self.text[offset]
            var isOpening = false
            switch octet {
            case UInt8(ascii: "\""):
                let start = offset + 1
                let hasEscape = try self.characters(&offset, isKey: false)
                try tape.append(.string, start, offset, hasEscape: hasEscape)
                offset += 1
            case UInt8(ascii: "-"), 0x30...0x39: try self.number(&offset, &tape)
            case UInt8(ascii: "t"): try self.literal("true", .true, &offset, &tape)
            case UInt8(ascii: "f"): try self.literal("false", .false, &offset, &tape)
            case UInt8(ascii: "n"): try self.literal("null", .null, &offset, &tape)
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                guard depth < Self.maximumDepth else {
                    throw JSONError(.frame_too_deep, at: offset)
                }
                isObject = octet == UInt8(ascii: "{")
                let parent = container
                container = tape.count
                try tape.append(isObject ? .object : .array, offset, offset)
                tape.setParent(parent, of: container)
                depth += 1
                offset += 1
                if isObject { filters[depth] = KeyFilter() }
                isOpening = true
            default: throw self.notJSON(offset)
            }

            // What follows it: the next one, or the end of what holds it.
            while true {
                self.skipSpace(&offset)
                guard container >= 0 else {
                    guard offset == self.text.count else { throw self.notJSON(offset) }
                    return
                }
                guard offset < self.text.count else { throw self.notJSON(offset) }
                let octet = self.text[offset]
                if octet == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) {
                    offset += 1
                    if isObject, filters[depth].needsSecondLook {
                        try self.checkKeys(from: container + 1, tape)
                    }
                    container = tape.close(container, at: offset)
                    isObject = container >= 0 && tape.isObject(container)
                    depth -= 1
                    isOpening = false
                    continue
                }
                if !isOpening {
                    guard octet == UInt8(ascii: ",") else { throw self.notJSON(offset) }
                    offset += 1
                    self.skipSpace(&offset)
                }
                if isObject { try self.key(&offset, &tape, &filters[depth], of: container) }
                break
            }
        }
    }

    // MARK: - Octets

    private func notJSON(_ offset: Int) -> JSONError { JSONError(.frame_not_json, at: offset) }

    @inline(__always)
    private func isAt(_ octet: UInt8, _ offset: Int) -> Bool {
        offset < self.text.count && self.text[offset] == octet
    }

    @inline(__always)
    private func skipSpace(_ offset: inout Int) {
        while offset < self.text.count, self.text[offset] <= 0x20 {
            switch self.text[offset] {
            case 0x20, 0x09, 0x0D, 0x0A: offset += 1
            default: return
            }
        }
    }
}

/// Fills the memory of a tape, and no more than that.
private struct TapeWriter {
    private let entries: UnsafeMutableBufferPointer<JSONTape.Entry>
    private(set) var count = 0
    /// Whether there was no room.
    private(set) var isFull = false

    init(_ entries: UnsafeMutableBufferPointer<JSONTape.Entry>) { self.entries = entries }

    /// - Throws: When there is no room.
    @inline(__always)
    mutating func append(
        _ kind: JSONTape.Kind,
        _ start: Int,
        _ end: Int,
        hasEscape: Bool = false,
        spelling: UInt32? = nil
    ) throws(JSONError) {
        guard self.count < self.entries.count else {
            self.isFull = true
            throw JSONError(.frame_not_json, at: start)
        }
        self.entries.initializeElement(
            at: self.count,
            to: JSONTape.Entry(
                start: UInt32(truncatingIfNeeded: start),
                end: UInt32(truncatingIfNeeded: end),
                next: spelling ?? UInt32(truncatingIfNeeded: self.count + 1),
                kind: kind,
                hasEscape: hasEscape
            )
        )
        self.count += 1
    }

    /// An object or array that is open knows what holds it, -1 for nothing.
    @inline(__always)
    func setParent(_ parent: Int, of index: Int) {
        self.entries[index].next = UInt32(truncatingIfNeeded: parent)
    }

    /// The object or array at `index` ends before `offset`.
    ///
    /// - Returns: What holds it.
    @inline(__always)
    func close(_ index: Int, at offset: Int) -> Int {
        let parent = Int(Int32(truncatingIfNeeded: self.entries[index].next))
        self.entries[index].end = UInt32(truncatingIfNeeded: offset)
        self.entries[index].next = UInt32(truncatingIfNeeded: self.count)
        return parent
    }

    @inline(__always)
    func isObject(_ index: Int) -> Bool { self.entries[index].kind == .object }

    subscript(index: Int) -> JSONTape.Entry { self.entries[index] }
}

// MARK: - Scalars

extension JSONScanner {
    @inline(__always)
    private func literal(
        _ word: StaticString,
        _ kind: JSONTape.Kind,
        _ offset: inout Int,
        _ tape: inout TapeWriter
    ) throws(JSONError) {
        guard OctetSearch.isAt(word, in: self.text, from: offset) else {
            throw self.notJSON(offset)
        }
        let start = offset
        offset += word.utf8CodeUnitCount
        try tape.append(kind, start, offset)
    }

    /// A number of RFC 8259 §6 whose integers stay within ±(2^53 − 1) and whose value is finite.
    private func number(_ offset: inout Int, _ tape: inout TapeWriter) throws(JSONError) {
        let start = offset
        if self.isAt(UInt8(ascii: "-"), offset) { offset += 1 }
        let firstDigit = offset
        let digits = self.digits(&offset)
        guard digits > 0, digits == 1 || self.text[firstDigit] != 0x30 else {
            throw JSONError(.frame_not_json, at: start)
        }
        var kind = JSONTape.Kind.integer
        if self.isAt(UInt8(ascii: "."), offset) {
            kind = .double
            offset += 1
            guard self.digits(&offset) > 0 else { throw JSONError(.frame_not_json, at: start) }
        }
        if self.isAt(UInt8(ascii: "e"), offset) || self.isAt(UInt8(ascii: "E"), offset) {
            kind = .double
            offset += 1
            if self.isAt(UInt8(ascii: "+"), offset) || self.isAt(UInt8(ascii: "-"), offset) {
                offset += 1
            }
            guard self.digits(&offset) > 0 else { throw JSONError(.frame_not_json, at: start) }
        }
        // Up to 15 digits are below 2^53, whatever they are.
        if kind == .double || digits > 15 {
            let text = UnsafeBufferPointer(rebasing: self.text[start..<offset])
            let isInRange =
                kind == .integer ? JSONNumber.int(text) != nil : JSONNumber.double(text) != nil
            guard isInRange else { throw JSONError(.frame_number, at: start) }
        }
        try tape.append(kind, start, offset)
    }

    @inline(__always)
    private func digits(_ offset: inout Int) -> Int {
        let start = offset
        while offset < self.text.count, self.text[offset] &- 0x30 < 10 { offset += 1 }
        return offset - start
    }
}

// MARK: - Strings

extension JSONScanner {
    /// Steps from the first quotation mark to the second, over what stands between them.
    ///
    /// - Returns: Whether there was an escape.
    @inline(__always)
    private func characters(_ offset: inout Int, isKey: Bool) throws(JSONError) -> Bool {
        let end = OctetSearch.firstSpecial(in: self.text, from: offset + 1)
        if end < self.text.count, self.text[end] == UInt8(ascii: "\"") {
            offset = end
            return false
        }
        offset = try self.escapedCharacters(from: end, isKey: isKey)
        return true
    }

    /// Reads on from the first octet of a string that is not itself.
    ///
    /// - Returns: Where the second quotation mark is.
    @inline(never)
    private func escapedCharacters(from start: Int, isKey: Bool) throws(JSONError) -> Int {
        var offset = start
        while true {
            guard offset < self.text.count else { throw self.notJSON(offset) }
            switch self.text[offset] {
            case UInt8(ascii: "\""): return offset
            case UInt8(ascii: "\\"): try self.escape(&offset, isKey: isKey)
            default: throw JSONError(.frame_control, at: offset)
            }
            offset = OctetSearch.firstSpecial(in: self.text, from: offset)
        }
    }

    private func escape(_ offset: inout Int, isKey: Bool) throws(JSONError) {
        let start = offset
        guard start + 1 < self.text.count else { throw self.notJSON(start) }
        let kind = self.text[start + 1]
        offset += 2
        switch kind {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
            UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return
        case UInt8(ascii: "u"): break
        default: throw JSONError(.frame_not_json, at: start)
        }
        let unit = try self.codeUnit(&offset)
        if isKey, unit == 0 { throw JSONError(.frame_nul_key, at: start) }
        guard unit & 0xF800 == 0xD800 else { return }
        guard unit < 0xDC00, self.isAt(UInt8(ascii: "\\"), offset),
            self.isAt(UInt8(ascii: "u"), offset + 1)
        else { throw JSONError(.frame_surrogate, at: start) }
        offset += 2
        guard try self.codeUnit(&offset) & 0xFC00 == 0xDC00 else {
            throw JSONError(.frame_surrogate, at: start)
        }
    }

    private func codeUnit(_ offset: inout Int) throws(JSONError) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard offset < self.text.count,
                let digit = JSONEscapes.hexadecimal(self.text[offset])
            else { throw self.notJSON(offset) }
            unit = unit << 4 | UInt16(digit)
            offset += 1
        }
        return unit
    }
}

// MARK: - Keys

/// Whether a key was there before in its object, answered without a look in nearly every case.
private struct KeyFilter {
    /// Objects with more keys than this, or with an escaped one, are checked when they end.
    static let maximumKeys: UInt32 = 32

    private var bits: UInt64 = 0
    private var count: UInt32 = 0
    var hasEscape = false

    var needsSecondLook: Bool { self.hasEscape || self.count > Self.maximumKeys }

    /// - Returns: Whether an earlier key may have been the same.
    @inline(__always)
    mutating func insert(_ spelling: UInt32) -> Bool {
        let bit = UInt64(1) << UInt64(spelling & 63)
        let isSuspect = self.bits & bit != 0
        self.bits |= bit
        self.count += 1
        return isSuspect
    }
}

extension JSONScanner {
    /// Reads a key and its colon, and refuses one that stands before in the same object.
    @inline(__always)
    private func key(
        _ offset: inout Int,
        _ tape: inout TapeWriter,
        _ filter: inout KeyFilter,
        of object: Int
    ) throws(JSONError) {
        guard self.isAt(UInt8(ascii: "\""), offset) else { throw self.notJSON(offset) }
        let start = offset + 1
        let hasEscape = try self.characters(&offset, isKey: true)
        let spelling = OctetSearch.spelling(of: start..<offset, in: self.text)
        if hasEscape { filter.hasEscape = true }
        if filter.insert(spelling), !filter.needsSecondLook {
            try self.compareKeys(from: object + 1, tape, with: start..<offset, spelling)
        }
        try tape.append(.key, start, offset, hasEscape: hasEscape, spelling: spelling)
        offset += 1
        self.skipSpace(&offset)
        guard self.isAt(UInt8(ascii: ":"), offset) else { throw self.notJSON(offset) }
        offset += 1
        self.skipSpace(&offset)
    }

    /// Compares a new key with those before it in an object whose first key is `first`.
    @inline(never)
    private func compareKeys(
        from first: Int,
        _ tape: TapeWriter,
        with place: Range<Int>,
        _ spelling: UInt32
    ) throws(JSONError) {
        var other = first
        while other < tape.count {
            if tape[other].next == spelling,
                self.text[tape[other].place].elementsEqual(self.text[place])
            {
                throw JSONError(.frame_duplicate_key, at: place.lowerBound)
            }
            other = Int(tape[other + 1].next)
        }
    }

    /// Compares all keys of an object that ends here, as they are spelled out.
    @inline(never)
    private func checkKeys(from first: Int, _ tape: TapeWriter) throws(JSONError) {
        var seen: Set<[UInt8]> = []
        var index = first
        while index < tape.count {
            let key = tape[index]
            let text = UnsafeBufferPointer(rebasing: self.text[key.place])
            let spelled = key.hasEscape ? JSONEscapes.resolved(text) : Array(text)
            guard seen.insert(spelled).inserted else {
                throw JSONError(.frame_duplicate_key, at: Int(key.start))
            }
            index = Int(tape[index + 1].next)
        }
    }
}

// MARK: - Numbers

/// The numbers that the protocol knows.
enum JSONNumber {
    static let maximumInteger: UInt64 = 9_007_199_254_740_991
    /// What ``maximumInteger`` has; no sum of so many digits overflows.
    private static let maximumDigits = 16
    /// Longer spellings of a finite number say nothing that these do not.
    private static let maximumDoubleOctets = 128

    /// The value of an integer's text.
    ///
    /// - Returns: `nil` unless it is within ±(2^53 − 1).
    static func int(_ text: UnsafeBufferPointer<UInt8>) -> Int64? {
        let isNegative = text.first == UInt8(ascii: "-")
        let first = isNegative ? 1 : 0
        guard (1...self.maximumDigits).contains(text.count - first) else { return nil }
        var value: UInt64 = 0
        for index in first..<text.count {
            value = value &* 10 &+ UInt64(text[index] &- 0x30)
        }
        guard value <= self.maximumInteger else { return nil }
        return isNegative ? -Int64(value) : Int64(value)
    }

    /// The value of a number's text.
    ///
    /// - Returns: `nil` unless it is finite, and spelled in 128 octets.
    static func double(_ text: UnsafeBufferPointer<UInt8>) -> Double? {
        guard text.count <= self.maximumDoubleOctets,
            let value = Double(String(decoding: text, as: UTF8.self)), value.isFinite
        else { return nil }
        return value
    }
}
