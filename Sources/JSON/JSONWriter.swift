import Octets

/// Writes JSON text straight into a buffer that its owner reuses.
///
/// json-c's printer needs a tree of objects first and copies each string twice; an event is written
/// a thousand times a second from parts that are already text. Commas and nesting are kept here, so a
/// caller cannot produce text that is not JSON except through ``raw(_:)``.
package struct JSONWriter {
    /// What has been written.
    package private(set) var octets: [UInt8] = []
    private var needsComma = false

    package init() {}

    package mutating func removeAll() {
        self.octets.removeAll(keepingCapacity: true)
        self.needsComma = false
    }

    /// Takes back whole lines: everything from `count` octets on.
    package mutating func truncate(to count: Int) {
        self.octets.removeLast(max(0, self.octets.count - count))
        self.needsComma = false
    }

    package mutating func beginObject() { self.open(UInt8(ascii: "{")) }
    package mutating func endObject() { self.close(UInt8(ascii: "}")) }
    package mutating func beginArray() { self.open(UInt8(ascii: "[")) }
    package mutating func endArray() { self.close(UInt8(ascii: "]")) }

    private mutating func open(_ bracket: UInt8) {
        self.separate()
        self.octets.append(bracket)
        self.needsComma = false
    }

    private mutating func close(_ bracket: UInt8) {
        self.octets.append(bracket)
        self.needsComma = true
    }

    private mutating func separate() {
        if self.needsComma { self.octets.append(UInt8(ascii: ",")) }
        self.needsComma = true
    }

    /// Appends the members of an object that is text already, `{…}`.
    package mutating func members(of object: [UInt8]) {
        guard object.count > 2 else { return }
        self.separate()
        self.octets.append(contentsOf: object[1..<object.count - 1])
    }

    /// - Parameter key: Needs no escape: a name of the protocol.
    package mutating func key(_ key: StaticString) {
        self.appendQuoted(Self.octets(of: key), isKey: true)
    }

    /// - Parameter word: Needs no escape: a word of the protocol.
    package mutating func word(_ word: StaticString) { self.appendQuoted(Self.octets(of: word)) }

    /// Appends a piece of JSON as it stands, with its own commas; a value may follow.
    package mutating func fragment(_ text: StaticString) {
        self.octets.append(contentsOf: Self.octets(of: text))
        self.needsComma = false
    }

    private static func octets(of text: StaticString) -> UnsafeBufferPointer<UInt8> {
        UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    }
}

// MARK: - Octets

extension JSONWriter {
    /// Appends text between quotes, behind a comma if one is due; nothing in it needs an escape.
    ///
    /// The room is made once and filled by memory copies: these few lines are most of what writing an
    /// event costs.
    private mutating func appendQuoted(_ text: UnsafeBufferPointer<UInt8>, isKey: Bool = false) {
        let needsComma = self.needsComma
        self.needsComma = !isKey
        self.octets.append(addingCapacity: text.count + 4) { span in
            if needsComma { span.append(UInt8(ascii: ",")) }
            span.append(UInt8(ascii: "\""))
            Self.copy(text, to: &span)
            span.append(UInt8(ascii: "\""))
            if isKey { span.append(UInt8(ascii: ":")) }
        }
    }

    /// Appends text as it is, behind a comma if one is due.
    private mutating func appendBare(_ text: UnsafeBufferPointer<UInt8>) {
        let needsComma = self.needsComma
        self.needsComma = true
        self.octets.append(addingCapacity: text.count + 1) { span in
            if needsComma { span.append(UInt8(ascii: ",")) }
            Self.copy(text, to: &span)
        }
    }

    private static func copy(
        _ text: UnsafeBufferPointer<UInt8>,
        to span: inout OutputSpan<UInt8>
    ) {
        guard let source = text.baseAddress else { return }
        span.withUnsafeMutableBufferPointer { buffer, count in
            guard let target = buffer.baseAddress, buffer.count - count >= text.count else {
                return
            }
            (target + count).initialize(from: source, count: text.count)
            count += text.count
        }
    }
}

// MARK: - Values

extension JSONWriter {
    /// A key that is not known when this is compiled; under a name of its own, for a literal would
    /// rather be a `String`.
    package mutating func key(escaping key: String) {
        self.string(key)
        self.octets.append(UInt8(ascii: ":"))
        self.needsComma = false
    }

    package mutating func null() { self.literal("null") }
    package mutating func bool(_ value: Bool) { self.literal(value ? "true" : "false") }

    private mutating func literal(_ text: StaticString) {
        self.appendBare(Self.octets(of: text))
    }

    package mutating func int(_ value: Int64) {
        let needsComma = self.needsComma
        self.needsComma = true
        // As many digits as the largest has, filled from the last.
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var first = digits.count
        var rest = value.magnitude
        repeat {
            first -= 1
            digits[first] = UInt8(truncatingIfNeeded: rest % 10) &+ 0x30
            rest /= 10
        } while rest > 0
        self.octets.append(addingCapacity: 22) { span in
            if needsComma { span.append(UInt8(ascii: ",")) }
            if value < 0 { span.append(UInt8(ascii: "-")) }
            for index in first..<digits.count { span.append(digits[index]) }
        }
    }

    /// A number that must be finite; anything else becomes null, which no reader mistakes.
    package mutating func double(_ value: Double) {
        guard value.isFinite else { return self.null() }
        self.separate()
        self.octets.append(contentsOf: "\(value)".utf8)
    }

    package mutating func string(_ value: String) {
        var value = value
        value.withUTF8 { self.string(utf8: $0) }
    }

    /// - Parameter utf8: Valid UTF-8; the caller knows.
    package mutating func string(utf8: UnsafeBufferPointer<UInt8>) {
        let special = OctetSearch.firstSpecial(in: utf8, from: 0)
        guard special < utf8.count else { return self.appendQuoted(utf8) }
        self.separate()
        // An octet takes six at most; the room for all is made once.
        let count = utf8[special...].reduce(special) { $0 &+ Self.escapedOctets($1) }
        self.octets.append(addingCapacity: count + 2) { span in
            span.append(UInt8(ascii: "\""))
            var (start, special) = (0, special)
            while special < utf8.count {
                Self.copy(UnsafeBufferPointer(rebasing: utf8[start..<special]), to: &span)
                // Octets to escape come together, as CRLF does.
                start = special
                while start < utf8.count, Self.escapedOctets(utf8[start]) > 1 { start += 1 }
                Self.escape(UnsafeBufferPointer(rebasing: utf8[special..<start]), to: &span)
                special = OctetSearch.firstSpecial(in: utf8, from: start)
            }
            Self.copy(UnsafeBufferPointer(rebasing: utf8[start...]), to: &span)
            span.append(UInt8(ascii: "\""))
        }
    }

    private static func escapedOctets(_ octet: UInt8) -> Int {
        switch octet {
        case 0x09, 0x0A, 0x0D, UInt8(ascii: "\""), UInt8(ascii: "\\"): 2
        case ..<0x20: 6
        default: 1
        }
    }

    /// Appends octets that all are to be escaped.
    private static func escape(
        _ octets: UnsafeBufferPointer<UInt8>,
        to span: inout OutputSpan<UInt8>
    ) {
        for octet in octets {
            span.append(UInt8(ascii: "\\"))
            switch octet {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): span.append(octet)
            case UInt8(ascii: "\n"): span.append(UInt8(ascii: "n"))
            case UInt8(ascii: "\r"): span.append(UInt8(ascii: "r"))
            case UInt8(ascii: "\t"): span.append(UInt8(ascii: "t"))
            default:
                span.append(UInt8(ascii: "u"))
                span.append(UInt8(ascii: "0"))
                span.append(UInt8(ascii: "0"))
                span.append(self.hexadecimal(octet >> 4))
                span.append(self.hexadecimal(octet & 15))
            }
        }
    }

    private static func hexadecimal(_ digit: UInt8) -> UInt8 {
        digit < 10 ? 0x30 &+ digit : 0x57 &+ digit
    }
}

// MARK: - Text that is JSON already

extension JSONWriter {
    /// Splices in one value that is encoded already.
    package mutating func raw(_ encoded: [UInt8]) {
        encoded.withUnsafeBufferPointer { self.appendBare($0) }
    }

    /// Splices in an object that was begun and not ended: its brace and its first members.
    ///
    /// The caller writes the rest of the members and ends the object.
    package mutating func rawOpenObject(_ encoded: [UInt8]) { self.raw(encoded) }

    /// Splices in a line that is encoded already, its LF included.
    package mutating func append(line: [UInt8]) {
        self.octets.append(contentsOf: line)
        self.needsComma = false
    }

    /// Ends the line.
    package mutating func newline() {
        self.octets.append(UInt8(ascii: "\n"))
        self.needsComma = false
    }

    /// The Bytes rule: a string if the octets are UTF-8 without NUL, else base64 in an object.
    package mutating func bytes(_ octets: [UInt8]) {
        octets.withUnsafeBufferPointer { self.bytes($0) }
    }

    /// The same for octets that lie somewhere.
    package mutating func bytes(_ octets: UnsafeBufferPointer<UInt8>) {
        // A string without an octet to escape has no NUL, and most have none.
        let special = OctetSearch.firstSpecial(in: octets, from: 0)
        let isText = special == octets.count || !octets[special...].contains(0)
        if isText, OctetSearch.isUTF8(octets) {
            self.string(utf8: octets)
        } else {
            self.beginObject()
            self.key("b64")
            Base64.encoded(Array(octets)).withUnsafeBufferPointer { self.appendQuoted($0) }
            self.endObject()
        }
    }
}
