import Testing

@testable import RESP

@Suite struct RESPReaderTests {
    /// Octets of one value, and the value.
    fileprivate static let values: [(octets: String, value: RESPValue)] = [
        ("+OK\r\n", .string(Array("OK".utf8))), ("+\r\n", .string([])),
        ("-ERR no such key\r\n", .error("ERR no such key")), (":42\r\n", .integer(42)),
        (":-9223372036854775808\r\n", .integer(.min)), (":+7\r\n", .integer(7)),
        ("$5\r\nhello\r\n", .string(Array("hello".utf8))), ("$0\r\n\r\n", .string([])),
        ("$4\r\n\r\n\r\n\r\n", .string([13, 10, 13, 10])), ("$-1\r\n", .null), ("*-1\r\n", .null),
        ("_\r\n", .null), ("#t\r\n", .integer(1)), ("#f\r\n", .integer(0)),
        (",1.5\r\n", .string(Array("1.5".utf8))),
        (
            "(3492890328409238509324850943850943825024385\r\n",
            .string(Array("3492890328409238509324850943850943825024385".utf8))
        ),
        ("!11\r\nERR no\r\nway\r\n", .error("ERR no\r\nway")),
        ("=8\r\ntxt:some\r\n", .string(Array("some".utf8))), ("*0\r\n", .array([])),
        ("~1\r\n:1\r\n", .array([.integer(1)])), (">0\r\n", .push([])),
        (">2\r\n+message\r\n:1\r\n", .push([.string(Array("message".utf8)), .integer(1)])),
        ("%1\r\n+a\r\n*1\r\n_\r\n", .array([.string([0x61]), .array([.null])])),
        (
            "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n*0\r\n$-1\r\n",
            .array([.integer(1), .array([.string([0x78]), .array([])]), .null])
        ),
        ("|1\r\n+ttl\r\n:3\r\n:7\r\n", .integer(7)), ("|0\r\n:7\r\n", .integer(7)),
        ("*2\r\n|1\r\n+ttl\r\n:3\r\n:7\r\n:8\r\n", .array([.integer(7), .integer(8)])),
    ]

    private func read(_ pieces: [some Collection<UInt8>]) throws -> [RESPValue] {
        var reader = RESPReader()
        var values: [RESPValue] = []
        for piece in pieces {
            reader.append(piece)
            while let value = try reader.next() { values.append(value) }
        }
        return values
    }

    @Test(arguments: RESPReaderTests.values)
    func `a value is read, cut everywhere and octet by octet`(
        octets: String,
        value: RESPValue
    ) throws {
        let octets = Array(octets.utf8)
        #expect(try self.read([octets]) == [value])
        for cut in 1..<octets.count {
            #expect(try self.read([octets[..<cut], octets[cut...]]) == [value])
            #expect(try self.read([octets[..<cut]]).isEmpty)
        }
        #expect(try self.read(octets.map { [$0] }) == [value])
    }

    @Test func `values follow each other, however they are cut`() throws {
        let octets = Array(Self.values.map(\.octets).joined().utf8)
        let expected = Self.values.map(\.value)
        for size in [1, 2, 3, 7, 64, octets.count] {
            let pieces = stride(from: 0, to: octets.count, by: size).map {
                octets[$0..<min($0 + size, octets.count)]
            }
            #expect(try self.read(pieces) == expected)
        }
    }

    @Test(arguments: [
        "OK\r\n", "\r\n", "+a\n", "+a\rb\r\n", ":\r\n", ":x\r\n", ":1.5\r\n",
        ":9223372036854775808\r\n", "$x\r\n", "$-2\r\n", "$3\r\nabcd\r\n", "$3\r\nabc\r\r",
        "*-2\r\n",
        "%-1\r\n", "!-1\r\n", "=3\r\ntxt\r\n", "=4\r\ntxtx\r\n", "_x\r\n", "#x\r\n", "#tt\r\n",
        "*1\r\nx\r\n", "$?\r\n", "*?\r\n",
    ])
    func `what is no value is an error, and stays one`(octets: String) {
        var reader = RESPReader()
        reader.append(Array(octets.utf8))
        let error = #expect(throws: RESPError.self) { try reader.next() }
        reader.append(Array("+OK\r\n".utf8))
        let second = #expect(throws: RESPError.self) { try reader.next() }
        #expect(error == second)
    }

    private static let small: RESPReader.Limits = {
        var limits = RESPReader.Limits()
        limits.octets = 40
        limits.lineOctets = 10
        limits.parts = 4
        limits.depth = 2
        return limits
    }()

    /// What just fits, and what is one more.
    fileprivate static let borders: [(fits: String, isOver: String, words: String)] = [
        ("+12345678\r\n", "+1234567890\r\n", "a line is longer than 10 octets"),
        ("+12345678", "+1234567890", "a line is longer than 10 octets"),
        ("$33\r\n\(String(repeating: "x", count: 33))\r\n", "$34\r\n", "a value is longer than 40"),
        ("$33\r\n", "$41\r\n", "a string has the length 41"),
        ("*3\r\n_\r\n_\r\n_\r\n", "*4\r\n_\r\n_\r\n_\r\n_\r\n", "a value has more than 4 parts"),
        ("*4\r\n", "*5\r\n", "an array has the length 5"),
        ("*1\r\n*1\r\n_\r\n", "*1\r\n*1\r\n*1\r\n", "more than 2 arrays inside each other"),
    ]

    @Test(arguments: RESPReaderTests.borders)
    func `a value has limits`(fits: String, isOver: String, words: String) throws {
        var reader = RESPReader(limits: Self.small)
        reader.append(Array(fits.utf8))
        _ = try reader.next()
        var other = RESPReader(limits: Self.small)
        other.append(Array(isOver.utf8))
        let error = #expect(throws: RESPError.self) { try other.next() }
        #expect(error?.description.hasPrefix(words) == true, "\(error?.description ?? "")")
    }

    @Test func `limits are those of one value, not of a connection`() throws {
        var reader = RESPReader(limits: Self.small)
        for _ in 0..<100 {
            reader.append(Array("*2\r\n$9\r\nnine oct.\r\n_\r\n".utf8))
            #expect(try reader.next() == .array([.string(Array("nine oct.".utf8)), .null]))
        }
    }

    @Test func `a command is an array of strings`() {
        let octets = RESPCommand.octets([Array("SET".utf8), [], [0x0D, 0x0A]])
        #expect(octets == Array("*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n\r\n\r\n".utf8))
    }
}
