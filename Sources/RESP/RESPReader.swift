/// Takes values out of a stream of octets, however it is cut.
package struct RESPReader {
    /// What a value may take.
    package struct Limits: Sendable {
        /// The most octets of one value, all of its parts and their marks included.
        package var octets = 16_777_216
        /// The most octets of a line: of a number, a length, a simple string or an error.
        package var lineOctets = 65_536
        /// The most parts of one value, of all depths together.
        package var parts = 100_000
        /// The most arrays inside each other.
        package var depth = 8

        package init() {}
    }

    /// An array whose parts have not all come.
    private struct Open {
        enum Kind {
            case array, push, attribute
        }

        let kind: Kind
        var missing: Int
        var parts: [RESPValue] = []
    }

    /// A string or an error whose length is known.
    private enum Bulk {
        case string, error, verbatim
    }

    private let limits: Limits
    /// What has come and is not read; octets before ``start`` are.
    private var octets: [UInt8] = []
    private var start = 0
    /// Up to here there is no end of a line.
    private var searched = 0
    private var open: [Open] = []
    private var bulk: (kind: Bulk, count: Int)?
    /// Octets and parts of the value that is being read.
    private var used = 0
    private var parts = 0
    private var failure: RESPError?

    package init(limits: Limits = Limits()) {
        self.limits = limits
    }

    /// Takes octets that have come.
    package mutating func append(_ octets: some Collection<UInt8>) {
        guard self.failure == nil else { return }
        if self.start > 65_536 || self.start == self.octets.count {
            self.octets.removeFirst(self.start)
            self.searched -= self.start
            self.start = 0
        }
        self.octets += octets
    }

    /// The next value; `nil` if it has not come whole.
    ///
    /// - Throws: ``RESPError``, the same one from then on.
    package mutating func next() throws(RESPError) -> RESPValue? {
        if let failure { throw failure }
        do throws(RESPError) {
            while let value = try self.part() {
                if let whole = self.close(value) { return whole }
            }
            return nil
        } catch {
            self.failure = error
            self.octets = []
            throw error
        }
    }

    /// The next value that is no array, or an array without parts; arrays are opened on the way.
    private mutating func part() throws(RESPError) -> RESPValue? {
        while true {
            if let bulk { return try self.bulkValue(bulk.kind, bulk.count) }
            guard let line = try self.line() else { return nil }
            self.parts += 1
            guard self.parts <= self.limits.parts else {
                throw RESPError("a value has more than \(self.limits.parts) parts")
            }
            if let value = try self.value(line) { return value }
        }
    }

    /// Puts a part where it belongs.
    ///
    /// - Returns: The whole value, if this part ends it.
    private mutating func close(_ part: RESPValue) -> RESPValue? {
        var value = part
        while var last = self.open.popLast() {
            last.parts.append(value)
            last.missing -= 1
            guard last.missing == 0 else {
                self.open.append(last)
                return nil
            }
            switch last.kind {
            case .array: value = .array(last.parts)
            case .push: value = .push(last.parts)
            // It describes the value that follows; no caller needs it.
            case .attribute: return nil
            }
        }
        self.used = 0
        self.parts = 0
        return value
    }

    // MARK: Octets

    /// The next line, its CRLF not included.
    private mutating func line() throws(RESPError) -> [UInt8]? {
        let from = max(self.start, self.searched)
        guard let end = self.octets[from...].firstIndex(of: 0x0A) else {
            self.searched = self.octets.count
            guard self.octets.count - self.start <= self.limits.lineOctets else {
                throw RESPError("a line is longer than \(self.limits.lineOctets) octets")
            }
            return nil
        }
        let line = self.octets[self.start..<end]
        guard line.last == 0x0D, line.firstIndex(of: 0x0D) == end - 1 else {
            throw RESPError("a line does not end with CR LF")
        }
        guard line.count <= self.limits.lineOctets else {
            throw RESPError("a line is longer than \(self.limits.lineOctets) octets")
        }
        try self.use(line.count + 1)
        self.start = end + 1
        return Array(line.dropLast())
    }

    private mutating func bulkValue(_ kind: Bulk, _ count: Int) throws(RESPError) -> RESPValue? {
        guard self.octets.count - self.start >= count + 2 else { return nil }
        let end = self.start + count
        guard self.octets[end] == 0x0D, self.octets[end + 1] == 0x0A else {
            throw RESPError("a string does not end with CR LF")
        }
        let octets = Array(self.octets[self.start..<end])
        self.start = end + 2
        self.bulk = nil
        switch kind {
        case .string: return .string(octets)
        case .error: return .error(String(decoding: octets, as: UTF8.self))
        case .verbatim:
            guard octets.count >= 4, octets[3] == UInt8(ascii: ":") else {
                throw RESPError("a verbatim string does not say what it is")
            }
            return .string(Array(octets.dropFirst(4)))
        }
    }

    private mutating func use(_ count: Int) throws(RESPError) {
        self.used += count
        guard self.used <= self.limits.octets else {
            throw RESPError("a value is longer than \(self.limits.octets) octets")
        }
    }

    // MARK: Kinds

    /// What a line says; `nil` if it is the beginning of something.
    private mutating func value(_ line: [UInt8]) throws(RESPError) -> RESPValue? {
        let rest = line.dropFirst()
        switch line.first {
        case UInt8(ascii: "+"), UInt8(ascii: ","), UInt8(ascii: "("): return .string(Array(rest))
        case UInt8(ascii: "-"): return .error(String(decoding: rest, as: UTF8.self))
        case UInt8(ascii: ":"): return .integer(try Self.number(rest))
        case UInt8(ascii: "_"): return try self.checked(rest.isEmpty, .null)
        case UInt8(ascii: "#"):
            return try self.checked(
                rest.elementsEqual([0x74]) || rest.elementsEqual([0x66]),
                .integer(rest.first == 0x74 ? 1 : 0)
            )

        case UInt8(ascii: "$"): return try self.bulk(.string, rest)
        case UInt8(ascii: "!"): return try self.bulk(.error, rest)
        case UInt8(ascii: "="): return try self.bulk(.verbatim, rest)
        case UInt8(ascii: "*"), UInt8(ascii: "~"): return try self.array(.array, rest, 1)
        case UInt8(ascii: "%"): return try self.array(.array, rest, 2)
        case UInt8(ascii: ">"): return try self.array(.push, rest, 1)
        case UInt8(ascii: "|"): return try self.array(.attribute, rest, 2)
        default: throw RESPError("a value begins with no mark of RESP")
        }
    }

    private func checked(_ isRight: Bool, _ value: RESPValue) throws(RESPError) -> RESPValue {
        guard isRight else { throw RESPError("a null or a boolean has another value") }
        return value
    }

    private mutating func bulk(
        _ kind: Bulk,
        _ rest: ArraySlice<UInt8>
    ) throws(RESPError) -> RESPValue? {
        let count = try Self.number(rest)
        // RESP2 has no value as a string or an array of length -1.
        if count == -1, kind == .string { return .null }
        guard count >= 0, count <= Int64(self.limits.octets) else {
            throw RESPError("a string has the length \(count)")
        }
        try self.use(Int(count) + 2)
        self.bulk = (kind, Int(count))
        return nil
    }

    private mutating func array(
        _ kind: Open.Kind,
        _ rest: ArraySlice<UInt8>,
        _ factor: Int
    ) throws(RESPError) -> RESPValue? {
        let count = try Self.number(rest)
        if count == -1, kind == .array, factor == 1 { return .null }
        guard count >= 0, count <= Int64(self.limits.parts) else {
            throw RESPError("an array has the length \(count)")
        }
        guard count > 0 else {
            switch kind {
            case .array: return .array([])
            case .push: return .push([])
            case .attribute: return nil
            }
        }
        guard self.open.count < self.limits.depth else {
            throw RESPError("more than \(self.limits.depth) arrays inside each other")
        }
        self.open.append(Open(kind: kind, missing: Int(count) * factor))
        return nil
    }

    private static func number(_ digits: ArraySlice<UInt8>) throws(RESPError) -> Int64 {
        guard digits.count <= 20, let number = Int64(String(decoding: digits, as: UTF8.self)) else {
            throw RESPError("a number is none")
        }
        return number
    }
}
