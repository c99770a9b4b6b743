internal import Octets

/// How much a message may change on its way without a signature's failing (RFC 6376 §3.4).
package enum Canonicalization: String, Sendable, Hashable {
    /// Nothing but empty lines at the end of the body.
    case simple
    /// White space, and the case of the names of fields.
    case relaxed
}

/// A header field of a message.
package struct SignedField: Sendable, Equatable {
    /// What stands before the colon, without white space.
    package let name: [UInt8]
    /// White space between the name and the colon.
    package let space: [UInt8]
    /// What follows the colon, folds kept, without the last CRLF.
    package let value: [UInt8]

    package init(name: [UInt8], space: [UInt8] = [], value: [UInt8]) {
        self.name = name
        self.space = space
        self.value = value
    }

    /// The field with another value.
    func with(value: [UInt8]) -> SignedField {
        SignedField(name: self.name, space: self.space, value: value)
    }

    func isNamed(_ name: StaticString) -> Bool {
        name.withUTF8Buffer { wanted in
            self.name.count == wanted.count
                && zip(self.name, wanted).allSatisfy { $0.lowerCased == $1.lowerCased }
        }
    }

    /// The field as it is hashed, without a CRLF at its end (RFC 6376 §3.4.1, §3.4.2).
    package func canonical(_ form: Canonicalization) -> [UInt8] {
        switch form {
        case .simple: return self.name + self.space + [.colon] + self.value
        case .relaxed:
            var octets = self.name.map(\.lowerCased)
            octets.reserveCapacity(octets.count + 1 + self.value.count)
            octets.append(.colon)
            var isBehindSpace = false
            var isFirst = true
            for octet in self.value {
                if octet.isFolding {
                    isBehindSpace = true
                    continue
                }
                if isBehindSpace, !isFirst { octets.append(.space) }
                isBehindSpace = false
                isFirst = false
                octets.append(octet)
            }
            return octets
        }
    }
}

/// A body as it is hashed, made of the octets as they come in pieces (RFC 6376 §3.4.3, §3.4.4).
struct BodyCanonicalizer: Sendable {
    private let form: Canonicalization
    /// Empty lines, which count only if something follows them.
    private var lineEnds = 0
    private var isBehindCarriageReturn = false
    /// White space, which is dropped at the end of a line and else one space.
    private var isBehindSpace = false
    private var isEmpty = true

    init(_ form: Canonicalization) { self.form = form }

    /// What the next octets of the body add.
    mutating func received(_ octets: [UInt8]) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(octets.count + 2 * min(self.lineEnds, octets.count) + 2)
        let isRelaxed = self.form == .relaxed
        let input = octets.span
        var index = 0
        while index < input.count {
            let octet = input[index]
            if self.isBehindCarriageReturn {
                self.isBehindCarriageReturn = false
                if octet == .lineFeed {
                    self.isBehindSpace = false
                    self.lineEnds += 1
                    index += 1
                    continue
                }
                self.flush(into: &output)
                output.append(.carriageReturn)
            }
            if octet == .carriageReturn {
                self.isBehindCarriageReturn = true
                index += 1
            } else if isRelaxed, octet.isBlank {
                self.isBehindSpace = true
                index += 1
            } else {
                self.flush(into: &output)
                repeat {
                    output.append(input[index])
                    index += 1
                } while index < input.count && input[index] != .carriageReturn
                    && !(isRelaxed && input[index].isBlank)
            }
        }
        return output
    }

    /// What the end of the body adds.
    mutating func finished() -> [UInt8] {
        var output: [UInt8] = []
        if self.isBehindCarriageReturn {
            self.flush(into: &output)
            output.append(.carriageReturn)
        }
        if !self.isEmpty || self.form == .simple { output += [.carriageReturn, .lineFeed] }
        return output
    }

    /// Something follows: the lines and the white space before it count.
    private mutating func flush(into output: inout [UInt8]) {
        self.isEmpty = false
        while self.lineEnds > 0 {
            output.append(.carriageReturn)
            output.append(.lineFeed)
            self.lineEnds -= 1
        }
        if self.isBehindSpace { output.append(.space) }
        self.isBehindSpace = false
    }
}
