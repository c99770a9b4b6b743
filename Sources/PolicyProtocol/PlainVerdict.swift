import JSON

/// Reads the verdicts that come by the thousand, without looking for anything in them.
///
/// A verdict without reply, notes and actions, spelled as SDKs spell it: members in the order of
/// protocol/, no white space, no escape. Anything else, right or wrong, is left to the strict check,
/// which would have said the same of every line that is taken here; a test holds the two together.
struct PlainVerdict {
    /// Longer numbers are left to the strict check, which knows the limit.
    private static let maximumDigits = 15
    /// `allCases` itself would be made anew for each line.
    private static let verdicts = Verdict.allCases

    private let line: UnsafeBufferPointer<UInt8>
    private let wantsTrace: Bool
    private var offset = 0

    /// The verdict of `line`.
    ///
    /// - Returns: `nil` if the line has to be read in full.
    static func read(_ line: [UInt8], wantsTrace: Bool) -> PolicyVerdict? {
        line.withUnsafeBufferPointer { line in
            var reader = PlainVerdict(line: line, wantsTrace: wantsTrace)
            return reader.verdict()
        }
    }

    /// A `progress` that reports a hook and nothing else.
    ///
    /// - Returns: `nil` if the line has to be read in full.
    static func progress(_ line: [UInt8]) -> (id: Int64, hook: Hook)? {
        line.withUnsafeBufferPointer { line in
            var reader = PlainVerdict(line: line, wantsTrace: false)
            guard reader.skip(#"{"type":"progress","id":"#), let id = reader.number(), id > 0,
                reader.skip(#","hook":""#), let hook = reader.hook(), reader.skip("}"),
                reader.isAtEnd
            else { return nil }
            return (id, hook)
        }
    }

    private init(line: UnsafeBufferPointer<UInt8>, wantsTrace: Bool) {
        self.line = line
        self.wantsTrace = wantsTrace
    }

    private mutating func verdict() -> PolicyVerdict? {
        guard self.skip(#"{"type":"verdict","id":"#), let id = self.number(), id > 0 else {
            return nil
        }
        var hook: Hook?
        if self.skip(#","hook":""#) {
            hook = self.hook()
            if hook == nil { return nil }
        }
        guard self.skip(#","verdict":""#), let word = self.word() else { return nil }
        var verdict = PolicyVerdict(id: id, verdict: word)
        verdict.hook = hook
        if self.skip("}") { return self.isAtEnd ? verdict : nil }
        if self.skip(#","plugin":""#) {
            guard let name = self.name() else { return nil }
            verdict.plugin = String(decoding: self.line[name], as: UTF8.self)
        }
        if !self.wantsTrace, self.skip(#","trace":["#) {
            guard self.skipTrace() else { return nil }
        }
        return self.skip("}") && self.isAtEnd ? verdict : nil
    }

    /// Steps over the entries of a trace that no worker wants.
    private mutating func skipTrace() -> Bool {
        for _ in 0..<PolicyVerdict.maximumTraceEntries {
            guard self.skip(#"{"plugin":""#), self.name() != nil, self.skip(#","verdict":""#),
                self.word() != nil, self.skip(#","us":"#), self.number() != nil, self.skip("}")
            else { return false }
            if self.skip("]") { return true }
            guard self.skip(",") else { return false }
        }
        return false
    }

    // MARK: - Parts

    private var isAtEnd: Bool { self.offset == self.line.count }

    private mutating func skip(_ text: StaticString) -> Bool {
        guard OctetSearch.isAt(text, in: self.line, from: self.offset) else { return false }
        self.offset += text.utf8CodeUnitCount
        return true
    }

    /// A number that is not negative, if a comma or a brace follows.
    private mutating func number() -> Int64? {
        let start = self.offset
        var value: Int64 = 0
        while self.offset < self.line.count {
            let digit = self.line[self.offset] &- 0x30
            guard digit < 10 else { break }
            value = value &* 10 &+ Int64(digit)
            self.offset += 1
            guard self.offset - start <= Self.maximumDigits else { return nil }
        }
        let digits = self.offset - start
        guard digits > 0, digits == 1 || self.line[start] != 0x30 else { return nil }
        return value
    }

    /// A verdict's word and its second quotation mark.
    private mutating func word() -> Verdict? {
        for verdict in Self.verdicts where self.skip(quoted: verdict.word) { return verdict }
        return nil
    }

    /// A hook that may be ahead of another, and its second quotation mark.
    private mutating func hook() -> Hook? {
        let hooks = Hook.data_post_headers.following
        for hook in hooks where self.skip(quoted: hook.word) { return hook }
        return nil
    }

    /// Steps over the word and the quotation mark behind it, or over nothing.
    private mutating func skip(quoted word: StaticString) -> Bool {
        let start = self.offset
        if self.skip(word), self.skip("\"") { return true }
        self.offset = start
        return false
    }

    /// A short name of printable ASCII; steps over its second quotation mark.
    private mutating func name() -> Range<Int>? {
        let start = self.offset
        while self.offset < self.line.count, self.offset - start <= ShortText.maximumCharacters {
            switch self.line[self.offset] {
            case UInt8(ascii: "\""):
                defer { self.offset += 1 }
                return start..<self.offset
            case UInt8(ascii: "\\"): return nil
            case 0x20...0x7E: self.offset += 1
            default: return nil
            }
        }
        return nil
    }
}
