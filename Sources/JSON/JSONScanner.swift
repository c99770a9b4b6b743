/// Checks one text against I-JSON and the protocol's limits, in one pass and before json-c sees it.
///
/// json-c lets NaN, duplicate keys, raw control octets, lone surrogates and overlong UTF-8 pass and
/// cuts a key at `\u0000`; this does not. It builds nothing: the members of the outermost object are
/// noted by their place, so that json-c parses only what somebody asks for.
///
/// - Note: RFC 8259, RFC 7493.
struct JSONScanner {
    /// Nesting allowed, the outermost object included (protocol §1).
    static let maximumDepth = 32

    /// A member of the outermost object: where its key (without quotes) and its value stand.
    struct Member {
        let key: Range<Int>
        let value: Range<Int>
    }

    private let text: UnsafeBufferPointer<UInt8>
    private var offset = 0
    private(set) var members: [Member] = []
    /// Keys seen in the objects that are open, to find one that comes twice.
    private var keys: [Range<Int>] = []
    /// Keys with an escape, spelled out, beside their place.
    private var escapedKeys: [Int: [UInt8]] = [:]

    /// - Parameter text: Outlives the scanner.
    init(_ text: UnsafeBufferPointer<UInt8>) {
        self.text = text
        self.members.reserveCapacity(12)
    }

    /// Reads the whole text: one object and nothing else but white space.
    mutating func scan() throws(JSONError) {
        guard UTF8Check.isValid(self.text) else { throw JSONError(.frame_not_utf8) }
        self.skipSpace()
        guard self.offset < self.text.count else { throw JSONError(.frame_not_json) }
        let isObject = self.text[self.offset] == UInt8(ascii: "{")
        try self.value(depth: 1, isOutermost: isObject)
        self.skipSpace()
        guard self.offset == self.text.count else {
            throw JSONError(.frame_not_json, at: self.offset)
        }
        guard isObject else { throw JSONError(.frame_not_object) }
    }

    private func current() throws(JSONError) -> UInt8 {
        guard self.offset < self.text.count else {
            throw JSONError(.frame_not_json, at: self.offset)
        }
        return self.text[self.offset]
    }

    private mutating func skipSpace() {
        while self.offset < self.text.count {
            switch self.text[self.offset] {
            case 0x20, 0x09, 0x0D, 0x0A: self.offset += 1
            default: return
            }
        }
    }

    private mutating func value(depth: Int, isOutermost: Bool = false) throws(JSONError) {
        switch try self.current() {
        case UInt8(ascii: "{"): try self.object(depth: depth, isOutermost: isOutermost)
        case UInt8(ascii: "["): try self.array(depth: depth)
        case UInt8(ascii: "\""): _ = try self.string(isKey: false)
        case UInt8(ascii: "t"): try self.literal("true")
        case UInt8(ascii: "f"): try self.literal("false")
        case UInt8(ascii: "n"): try self.literal("null")
        case UInt8(ascii: "-"), 0x30...0x39: try self.number()
        default: throw JSONError(.frame_not_json, at: self.offset)
        }
    }

    private mutating func literal(_ word: StaticString) throws(JSONError) {
        let end = self.offset + word.utf8CodeUnitCount
        guard end <= self.text.count else { throw JSONError(.frame_not_json, at: self.offset) }
        for index in 0..<word.utf8CodeUnitCount
        where self.text[self.offset + index] != word.utf8Start[index] {
            throw JSONError(.frame_not_json, at: self.offset)
        }
        self.offset = end
    }

    private mutating func object(depth: Int, isOutermost: Bool) throws(JSONError) {
        guard depth <= Self.maximumDepth else { throw JSONError(.frame_too_deep, at: self.offset) }
        let firstKey = self.keys.count
        self.offset += 1
        self.skipSpace()
        if try self.current() == UInt8(ascii: "}") {
            self.offset += 1
            return
        }
        while true {
            guard try self.current() == UInt8(ascii: "\"") else {
                throw JSONError(.frame_not_json, at: self.offset)
            }
            let key = try self.string(isKey: true)
            self.keys.append(key)
            self.skipSpace()
            guard try self.current() == UInt8(ascii: ":") else {
                throw JSONError(.frame_not_json, at: self.offset)
            }
            self.offset += 1
            self.skipSpace()
            let start = self.offset
            try self.value(depth: depth + 1)
            if isOutermost { self.members.append(Member(key: key, value: start..<self.offset)) }
            self.skipSpace()
            let separator = try self.current()
            self.offset += 1
            if separator == UInt8(ascii: "}") { break }
            guard separator == UInt8(ascii: ",") else {
                throw JSONError(.frame_not_json, at: self.offset - 1)
            }
            self.skipSpace()
        }
        try self.checkKeys(from: firstKey)
    }

    private mutating func array(depth: Int) throws(JSONError) {
        guard depth <= Self.maximumDepth else { throw JSONError(.frame_too_deep, at: self.offset) }
        self.offset += 1
        self.skipSpace()
        if try self.current() == UInt8(ascii: "]") {
            self.offset += 1
            return
        }
        while true {
            try self.value(depth: depth + 1)
            self.skipSpace()
            let separator = try self.current()
            self.offset += 1
            if separator == UInt8(ascii: "]") { return }
            guard separator == UInt8(ascii: ",") else {
                throw JSONError(.frame_not_json, at: self.offset - 1)
            }
            self.skipSpace()
        }
    }
}

// MARK: - Numbers

extension JSONScanner {
    /// A number of RFC 8259 §6 whose integers stay within ±(2^53 − 1) and whose value is finite.
    private mutating func number() throws(JSONError) {
        let start = self.offset
        if self.text[self.offset] == UInt8(ascii: "-") { self.offset += 1 }
        let firstDigit = self.offset
        let digits = self.digits()
        guard digits > 0, digits == 1 || self.text[firstDigit] != 0x30 else {
            throw JSONError(.frame_not_json, at: start)
        }
        var isInteger = true
        if self.offset < self.text.count, self.text[self.offset] == UInt8(ascii: ".") {
            isInteger = false
            self.offset += 1
            guard self.digits() > 0 else { throw JSONError(.frame_not_json, at: start) }
        }
        if self.offset < self.text.count, self.text[self.offset] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            self.offset += 1
            if self.offset < self.text.count,
                self.text[self.offset] == UInt8(ascii: "+")
                    || self.text[self.offset] == UInt8(ascii: "-")
            {
                self.offset += 1
            }
            let exponent = self.digits()
            guard exponent > 0 else { throw JSONError(.frame_not_json, at: start) }
            guard exponent <= 3 else { throw JSONError(.frame_number, at: start) }
        }
        let text = UnsafeBufferPointer(rebasing: self.text[start..<self.offset])
        if isInteger {
            guard digits <= 16, JSONNumber.int(text) != nil else {
                throw JSONError(.frame_number, at: start)
            }
        } else {
            guard text.count <= 64, JSONNumber.double(text) != nil else {
                throw JSONError(.frame_number, at: start)
            }
        }
    }

    private mutating func digits() -> Int {
        let start = self.offset
        while self.offset < self.text.count, (0x30...0x39).contains(self.text[self.offset]) {
            self.offset += 1
        }
        return self.offset - start
    }
}

/// The numbers that the protocol knows.
enum JSONNumber {
    static let maximumInteger: Int64 = 9_007_199_254_740_991

    /// `nil` unless `text` is an integer within ±(2^53 − 1).
    static func int(_ text: UnsafeBufferPointer<UInt8>) -> Int64? {
        guard let value = Int64(String(decoding: text, as: UTF8.self)) else { return nil }
        return value.magnitude <= UInt64(self.maximumInteger) ? value : nil
    }

    /// `nil` unless `text` is a finite number.
    static func double(_ text: UnsafeBufferPointer<UInt8>) -> Double? {
        guard let value = Double(String(decoding: text, as: UTF8.self)), value.isFinite else {
            return nil
        }
        return value
    }
}

// MARK: - Strings and keys

extension JSONScanner {
    /// - Returns: The place of the octets between the quotes.
    private mutating func string(isKey: Bool) throws(JSONError) -> Range<Int> {
        self.offset += 1
        let start = self.offset
        var hasEscape = false
        while true {
            let octet = try self.current()
            if octet == UInt8(ascii: "\"") { break }
            guard octet >= 0x20 else { throw JSONError(.frame_control, at: self.offset) }
            if octet == UInt8(ascii: "\\") {
                hasEscape = true
                try self.escape(isKey: isKey)
            } else {
                self.offset += 1
            }
        }
        let range = start..<self.offset
        self.offset += 1
        if isKey, hasEscape {
            self.escapedKeys[start] = JSONText.unescaped(
                UnsafeBufferPointer(rebasing: self.text[range])
            )
        }
        return range
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
        guard unit < 0xDC00, self.offset + 1 < self.text.count,
            self.text[self.offset] == UInt8(ascii: "\\"),
            self.text[self.offset + 1] == UInt8(ascii: "u")
        else { throw JSONError(.frame_surrogate, at: start) }
        self.offset += 2
        guard try self.codeUnit() & 0xFC00 == 0xDC00 else {
            throw JSONError(.frame_surrogate, at: start)
        }
    }

    private mutating func codeUnit() throws(JSONError) -> UInt16 {
        guard self.offset + 4 <= self.text.count else {
            throw JSONError(.frame_not_json, at: self.offset)
        }
        var unit: UInt16 = 0
        for _ in 0..<4 {
            guard let digit = JSONText.hexadecimal(self.text[self.offset]) else {
                throw JSONError(.frame_not_json, at: self.offset)
            }
            unit = unit << 4 | UInt16(digit)
            self.offset += 1
        }
        return unit
    }

    /// Refuses a key that stands twice in the object whose keys begin at `first`.
    private mutating func checkKeys(from first: Int) throws(JSONError) {
        defer { self.keys.removeLast(self.keys.count - first) }
        let count = self.keys.count - first
        guard count > 1 else { return }
        if count <= 16, self.escapedKeys.isEmpty {
            for index in first + 1..<self.keys.count {
                for other in first..<index where self.areEqual(self.keys[index], self.keys[other]) {
                    throw JSONError(.frame_duplicate_key, at: self.keys[index].lowerBound)
                }
            }
            return
        }
        var seen: Set<[UInt8]> = []
        for key in self.keys[first...] {
            let spelled = self.escapedKeys[key.lowerBound] ?? Array(self.text[key])
            guard seen.insert(spelled).inserted else {
                throw JSONError(.frame_duplicate_key, at: key.lowerBound)
            }
        }
    }

    private func areEqual(_ lhs: Range<Int>, _ rhs: Range<Int>) -> Bool {
        lhs.count == rhs.count && self.text[lhs].elementsEqual(self.text[rhs])
    }
}
