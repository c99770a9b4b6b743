/// Checks one text against I-JSON and the protocol's limits, in one pass and before json-c sees it.
///
/// json-c lets NaN, duplicate keys, raw control octets, lone surrogates and overlong UTF-8 pass and
/// cuts a key at `\u0000`; this does not. It builds no values: keys and values are noted by their place
/// (``JSONTape``), so that only what somebody asks for is ever read.
///
/// - Note: RFC 8259, RFC 7493.
struct JSONScanner {
    /// Nesting allowed, the outermost value included (protocol/README.md §1).
    static let maximumDepth = 32

    private let text: UnsafeBufferPointer<UInt8>
    private var offset = 0
    private var entries: [JSONTape.Entry] = []

    /// - Parameter text: Outlives the scanner.
    init(_ text: UnsafeBufferPointer<UInt8>) {
        self.text = text
        self.entries.reserveCapacity(min(96, text.count / 6 + 8))
    }

    /// Reads the whole text: one value and nothing else but white space.
    mutating func scan() throws(JSONError) -> JSONTape {
        guard self.text.count < UInt32.max else { throw JSONError(.frame_not_json) }
        guard OctetSearch.isUTF8(self.text) else { throw JSONError(.frame_not_utf8) }
        self.skipSpace()
        try self.value(depth: 1)
        self.skipSpace()
        guard self.offset == self.text.count else { throw self.notJSON() }
        return JSONTape(entries: self.entries)
    }

    // MARK: - Octets

    /// - Throws: At the end of the text, which comes too early wherever this is asked.
    private func current() throws(JSONError) -> UInt8 {
        guard self.offset < self.text.count else { throw self.notJSON() }
        return self.text[self.offset]
    }

    private func notJSON() -> JSONError { JSONError(.frame_not_json, at: self.offset) }

    private func isAt(_ octet: UInt8) -> Bool {
        self.offset < self.text.count && self.text[self.offset] == octet
    }

    private mutating func skipSpace() {
        while self.offset < self.text.count, self.text[self.offset] <= 0x20 {
            switch self.text[self.offset] {
            case 0x20, 0x09, 0x0D, 0x0A: self.offset += 1
            default: return
            }
        }
    }

    // MARK: - Entries

    private mutating func append(_ kind: JSONTape.Kind, from start: Int, hasEscape: Bool = false) {
        self.entries.append(
            JSONTape.Entry(
                start: UInt32(truncatingIfNeeded: start),
                end: UInt32(truncatingIfNeeded: self.offset),
                next: UInt32(truncatingIfNeeded: self.entries.count + 1),
                kind: kind,
                hasEscape: hasEscape
            )
        )
    }

    /// The object or array at `index` ends here.
    private mutating func close(_ index: Int) {
        self.entries[index].end = UInt32(truncatingIfNeeded: self.offset)
        self.entries[index].next = UInt32(truncatingIfNeeded: self.entries.count)
    }
}

// MARK: - Values

extension JSONScanner {
    private mutating func value(depth: Int) throws(JSONError) {
        switch try self.current() {
        case UInt8(ascii: "\""): try self.string()
        case UInt8(ascii: "{"): try self.object(depth: depth)
        case UInt8(ascii: "["): try self.array(depth: depth)
        case UInt8(ascii: "-"), 0x30...0x39: try self.number()
        case UInt8(ascii: "t"): try self.literal("true", .true)
        case UInt8(ascii: "f"): try self.literal("false", .false)
        case UInt8(ascii: "n"): try self.literal("null", .null)
        default: throw self.notJSON()
        }
    }

    private mutating func literal(
        _ word: StaticString,
        _ kind: JSONTape.Kind
    ) throws(JSONError) {
        let start = self.offset
        let end = start + word.utf8CodeUnitCount
        guard end <= self.text.count else { throw self.notJSON() }
        for index in 0..<word.utf8CodeUnitCount
        where self.text[start + index] != word.utf8Start[index] {
            throw self.notJSON()
        }
        self.offset = end
        self.append(kind, from: start)
    }

    private mutating func object(depth: Int) throws(JSONError) {
        guard depth <= Self.maximumDepth else {
            throw JSONError(.frame_too_deep, at: self.offset)
        }
        let object = self.entries.count
        self.append(.object, from: self.offset)
        self.offset += 1
        self.skipSpace()
        var keys = KeyFilter()
        var isFirst = true
        while try self.isMore(UInt8(ascii: "}"), isFirst: &isFirst) {
            try self.key(&keys, of: object)
            self.skipSpace()
            guard self.isAt(UInt8(ascii: ":")) else { throw self.notJSON() }
            self.offset += 1
            self.skipSpace()
            try self.value(depth: depth + 1)
        }
        self.close(object)
        if keys.needsSecondLook { try self.checkKeys(of: object) }
    }

    private mutating func array(depth: Int) throws(JSONError) {
        guard depth <= Self.maximumDepth else {
            throw JSONError(.frame_too_deep, at: self.offset)
        }
        let array = self.entries.count
        self.append(.array, from: self.offset)
        self.offset += 1
        self.skipSpace()
        var isFirst = true
        while try self.isMore(UInt8(ascii: "]"), isFirst: &isFirst) {
            try self.value(depth: depth + 1)
        }
        self.close(array)
    }

    /// Steps over the bracket that closes, or over the comma before the next element.
    private mutating func isMore(_ bracket: UInt8, isFirst: inout Bool) throws(JSONError) -> Bool {
        self.skipSpace()
        let octet = try self.current()
        if octet == bracket {
            self.offset += 1
            return false
        }
        if isFirst {
            isFirst = false
            return true
        }
        guard octet == UInt8(ascii: ",") else { throw self.notJSON() }
        self.offset += 1
        self.skipSpace()
        guard try self.current() != bracket else { throw self.notJSON() }
        return true
    }
}

// MARK: - Strings

extension JSONScanner {
    private mutating func string() throws(JSONError) {
        let start = self.offset + 1
        let hasEscape = try self.characters(isKey: false)
        self.append(.string, from: start, hasEscape: hasEscape)
        self.offset += 1
    }

    /// Steps over what stands between the quotes, and stops at the second.
    ///
    /// - Returns: Whether there was an escape.
    private mutating func characters(isKey: Bool) throws(JSONError) -> Bool {
        self.offset += 1
        var hasEscape = false
        while true {
            self.offset = OctetSearch.firstSpecial(in: self.text, from: self.offset)
            switch try self.current() {
            case UInt8(ascii: "\""): return hasEscape
            case UInt8(ascii: "\\"):
                hasEscape = true
                try self.escape(isKey: isKey)
            default: throw JSONError(.frame_control, at: self.offset)
            }
        }
    }

    private mutating func escape(isKey: Bool) throws(JSONError) {
        let start = self.offset
        self.offset += 1
        let kind = try self.current()
        self.offset += 1
        switch kind {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"),
            UInt8(ascii: "f"), UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return
        case UInt8(ascii: "u"): break
        default: throw JSONError(.frame_not_json, at: start)
        }
        let unit = try self.codeUnit()
        if isKey, unit == 0 { throw JSONError(.frame_nul_key, at: start) }
        guard unit & 0xF800 == 0xD800 else { return }
        guard unit < 0xDC00, self.isAt(UInt8(ascii: "\\")) else {
            throw JSONError(.frame_surrogate, at: start)
        }
        self.offset += 1
        guard self.isAt(UInt8(ascii: "u")) else { throw JSONError(.frame_surrogate, at: start) }
        self.offset += 1
        guard try self.codeUnit() & 0xFC00 == 0xDC00 else {
            throw JSONError(.frame_surrogate, at: start)
        }
    }

    private mutating func codeUnit() throws(JSONError) -> UInt16 {
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard let digit = JSONEscapes.hexadecimal(try self.current()) else {
                throw self.notJSON()
            }
            unit = unit << 4 | UInt16(digit)
            self.offset += 1
        }
        return unit
    }
}

// MARK: - Keys

/// Whether a key was there before in its object, answered without a look in nearly every case.
private struct KeyFilter {
    /// Objects with more keys than this, or with an escaped one, are checked when they end.
    static let maximumKeys = 32

    private var bits: UInt64 = 0
    private(set) var count = 0
    var hasEscape = false

    var needsSecondLook: Bool { self.hasEscape || self.count > Self.maximumKeys }

    /// - Returns: Whether an earlier key may have been the same.
    mutating func insert(_ spelling: UInt32) -> Bool {
        let bit = UInt64(1) << UInt64(spelling & 63)
        let isSuspect = self.bits & bit != 0
        self.bits |= bit
        self.count += 1
        return isSuspect
    }
}

extension JSONScanner {
    /// Reads a key, and refuses one that stands before in the same object.
    private mutating func key(_ keys: inout KeyFilter, of object: Int) throws(JSONError) {
        guard self.isAt(UInt8(ascii: "\"")) else { throw self.notJSON() }
        let start = self.offset + 1
        let hasEscape = try self.characters(isKey: true)
        let index = self.entries.count
        let spelling = self.spelling(start, self.offset)
        self.append(.key, from: start, hasEscape: hasEscape)
        self.entries[index].next = spelling
        self.offset += 1
        if hasEscape { keys.hasEscape = true }
        guard keys.insert(spelling), !keys.needsSecondLook else { return }
        var other = object + 1
        while other < index {
            if self.entries[other].next == spelling, self.isSame(other, index) {
                throw JSONError(.frame_duplicate_key, at: start)
            }
            other = Int(self.entries[other + 1].next)
        }
    }

    /// A few bits that equal keys have in common: length, first, middle and last octet.
    private func spelling(_ start: Int, _ end: Int) -> UInt32 {
        guard start < end else { return 0 }
        let first = UInt32(self.text[start])
        let middle = UInt32(self.text[start + (end - start) / 2])
        let last = UInt32(self.text[end - 1])
        let length = UInt32(truncatingIfNeeded: end - start)
        return (length &* 31 &+ first &* 5 &+ middle &* 11 &+ last) & 0xFF_FFFF
    }

    private func isSame(_ lhs: Int, _ rhs: Int) -> Bool {
        let lhs = self.entries[lhs].place
        let rhs = self.entries[rhs].place
        return lhs.count == rhs.count && self.text[lhs].elementsEqual(self.text[rhs])
    }

    /// Compares all keys of a finished object as they are spelled out.
    private func checkKeys(of object: Int) throws(JSONError) {
        var seen: Set<[UInt8]> = []
        var index = object + 1
        let end = Int(self.entries[object].next)
        while index < end {
            let key = self.entries[index]
            let text = UnsafeBufferPointer(rebasing: self.text[key.place])
            let spelled = key.hasEscape ? JSONEscapes.resolved(text) : Array(text)
            guard seen.insert(spelled).inserted else {
                throw JSONError(.frame_duplicate_key, at: Int(key.start))
            }
            index = Int(self.entries[index + 1].next)
        }
    }
}

// MARK: - Numbers

extension JSONScanner {
    /// A number of RFC 8259 §6 whose integers stay within ±(2^53 − 1) and whose value is finite.
    private mutating func number() throws(JSONError) {
        let start = self.offset
        if self.isAt(UInt8(ascii: "-")) { self.offset += 1 }
        let firstDigit = self.offset
        let digits = self.digits()
        guard digits > 0, digits == 1 || self.text[firstDigit] != 0x30 else {
            throw JSONError(.frame_not_json, at: start)
        }
        var kind = JSONTape.Kind.integer
        if self.isAt(UInt8(ascii: ".")) {
            kind = .double
            self.offset += 1
            guard self.digits() > 0 else { throw JSONError(.frame_not_json, at: start) }
        }
        if self.isAt(UInt8(ascii: "e")) || self.isAt(UInt8(ascii: "E")) {
            kind = .double
            self.offset += 1
            if self.isAt(UInt8(ascii: "+")) || self.isAt(UInt8(ascii: "-")) { self.offset += 1 }
            guard self.digits() > 0 else { throw JSONError(.frame_not_json, at: start) }
        }
        let text = UnsafeBufferPointer(rebasing: self.text[start..<self.offset])
        let isInRange =
            kind == .integer ? JSONNumber.int(text) != nil : JSONNumber.double(text) != nil
        guard isInRange else { throw JSONError(.frame_number, at: start) }
        self.append(kind, from: start)
    }

    private mutating func digits() -> Int {
        let start = self.offset
        while self.offset < self.text.count, self.text[self.offset] &- 0x30 < 10 {
            self.offset += 1
        }
        return self.offset - start
    }
}

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
