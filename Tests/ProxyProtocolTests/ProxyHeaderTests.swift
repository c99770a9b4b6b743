import Addresses
import Testing

@testable import ProxyProtocol

/// PROXY headers of both versions: whole, octet by octet, cut and changed.
@Suite struct ProxyHeaderTests {
    private static let signature: [UInt8] = Array("\r\n\r\n\0\r\nQUIT\n".utf8)

    /// A header of version 2.
    private static func version2(
        _ command: UInt8 = 0x21,
        _ family: UInt8 = 0x11,
        _ body: [UInt8],
        length: Int? = nil
    ) -> [UInt8] {
        let length = length ?? body.count
        return Self.signature + [command, family, UInt8(length >> 8), UInt8(length & 255)] + body
    }

    private static let ipv4: [UInt8] = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0, 25]
    private static let ipv6: [UInt8] =
        [0x20, 1, 0x0D, 0xB8] + Array(repeating: 0, count: 11) + [1]
        + [0x20, 1, 0x0D, 0xB8] + Array(repeating: 0, count: 11) + [2]
        + [0x12, 0x67, 1, 0xD1]

    private static func client(
        _ ip: String,
        _ port: UInt16,
        _ server: String,
        _ serverPort: UInt16
    ) throws -> ProxyHeader {
        .client(
            ProxyEndpoint(address: try #require(IPAddress(parsing: ip)), port: port),
            server: ProxyEndpoint(
                address: try #require(IPAddress(parsing: server)),
                port: serverPort
            )
        )
    }

    private static func read(_ octets: [UInt8]) throws(ProxyHeaderError) -> (ProxyHeader, Int)? {
        try ProxyHeader.read(in: octets.span).map { ($0.header, $0.octets) }
    }

    /// What is read of each part of `octets` from its front on: nothing before the whole is there.
    private static func readSplit(_ octets: [UInt8], _ expected: ProxyHeader) throws {
        for count in 0..<octets.count {
            let early = try Self.read(Array(octets[..<count]))
            #expect(early == nil, "at \(count)")
        }
        for rest in ["", "EHLO x\r\n", "PROXY TCP4", "\r\n\r\n"] {
            let (header, count) = try #require(try Self.read(octets + Array(rest.utf8)))
            #expect(header == expected)
            #expect(count == octets.count)
        }
    }

    @Test func `a line of version 1`() throws {
        let rows: [(String, ProxyHeader)] = [
            (
                "PROXY TCP4 192.0.2.1 198.51.100.2 4711 25",
                try Self.client("192.0.2.1", 4711, "198.51.100.2", 25)
            ),
            (
                "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535",
                try Self.client("0.0.0.0", 0, "255.255.255.255", 65_535)
            ),
            (
                "PROXY TCP6 2001:db8::1 2001:db8::2 4711 465",
                try Self.client("2001:db8::1", 4711, "2001:db8::2", 465)
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 4711 25",
                try Self.client("192.0.2.1", 4711, "198.51.100.2", 25)
            ),
            ("PROXY UNKNOWN", .ownAddresses),
            ("PROXY UNKNOWN ffff::1 nonsense", .ownAddresses),
            // The longest line: 107 octets with CRLF.
            ("PROXY UNKNOWN " + String(repeating: "f", count: 91), .ownAddresses),
        ]
        for (line, header) in rows { try Self.readSplit(Array((line + "\r\n").utf8), header) }
    }

    @Test(arguments: [
        ("EHLO x\r\n", ProxyHeaderError.notAHeader),
        ("PROXYTCP4 192.0.2.1 198.51.100.2 4711 25\r\n", .notAHeader),
        ("proxy TCP4 192.0.2.1 198.51.100.2 4711 25\r\n", .notAHeader),
        ("PROXY \r\n", .badLine),
        ("PROXY TCP4\r\n", .badLine),
        ("PROXY TCP5 192.0.2.1 198.51.100.2 4711 25\r\n", .badLine),
        ("PROXY tcp4 192.0.2.1 198.51.100.2 4711 25\r\n", .badLine),
        ("PROXY UDP4 192.0.2.1 198.51.100.2 4711 25\r\n", .badLine),
        ("PROXY  TCP4 192.0.2.1 198.51.100.2 4711 25\r\n", .badLine),
        ("PROXY TCP4 192.0.2.1  198.51.100.2 4711 25\r\n", .badLine),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4711 25 \r\n", .badLine),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4711\r\n", .badLine),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4711 25 26\r\n", .badLine),
        ("PROXY TCP4 192.0.2.256 198.51.100.2 4711 25\r\n", .badLine),
        ("PROXY TCP4 192.0.2 198.51.100.2 4711 25\r\n", .badLine),
        ("PROXY TCP4 192.000.2.1 198.51.100.2 4711 25\r\n", .badLine),
        ("PROXY TCP4 2001:db8::1 2001:db8::2 4711 25\r\n", .badLine),
        ("PROXY TCP4 192.0.2.1 2001:db8::2 4711 25\r\n", .badLine),
        ("PROXY TCP6 192.0.2.1 198.51.100.2 4711 25\r\n", .badLine),
        ("PROXY TCP6 2001:db8::g 2001:db8::2 4711 25\r\n", .badLine),
        ("PROXY TCP4 mail.example.com 198.51.100.2 4711 25\r\n", .badLine),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n", .badLine),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 04711 25\r\n", .badLine),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 -1 25\r\n", .badLine),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 +1 25\r\n", .badLine),
        ("PROXY TCP4 192.0.2.1 198.51.100.2  25\r\n", .badLine),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4711 25\n", .badLine),
        ("PROXY TCP4 192.0.2.1 198.51.100.2 4711 25\rX", .badLine),
        ("PROXY TCP4\t192.0.2.1 198.51.100.2 4711 25\r\n", .badLine),
        ("PROXY TCP4 192.0.2.1 198.51.100.2\0 4711 25\r\n", .badLine),
    ])
    func `what is no line of version 1`(text: String, error: ProxyHeaderError) {
        #expect(throws: error) { try Self.read(Array(text.utf8)) }
    }

    @Test func `a line of 108 octets is too long, with and without its end`() {
        let line = "PROXY UNKNOWN " + String(repeating: "f", count: 92) + "\r\n"
        #expect(throws: ProxyHeaderError.lineTooLong) { try Self.read(Array(line.utf8)) }
        let endless = Array("PROXY UNKNOWN ".utf8) + Array(repeating: 0x66, count: 93)
        #expect(throws: ProxyHeaderError.lineTooLong) { try Self.read(endless) }
    }

    @Test func `a line is refused at the first octet that is wrong`() {
        #expect(throws: ProxyHeaderError.notAHeader) { try Self.read(Array("PRO?".utf8)) }
        #expect(throws: ProxyHeaderError.notAHeader) { try Self.read([0x16]) }
        let cut = Array("\r\n\r\n\0\r\nX".utf8)
        #expect(throws: ProxyHeaderError.notAHeader) { try Self.read(cut) }
        #expect(throws: ProxyHeaderError.badVersion) { try Self.read(Self.signature + [0x11]) }
    }

    @Test func `a header of version 2`() throws {
        let crc = try Self.withChecksum(
            Self.version2(0x21, 0x11, Self.ipv4 + [0x03, 0, 4, 0, 0, 0, 0]),
            at: 31
        )
        let rows: [([UInt8], ProxyHeader)] = [
            (
                Self.version2(0x21, 0x11, Self.ipv4),
                try Self.client("192.0.2.1", 4711, "198.51.100.2", 25)
            ),
            (
                Self.version2(0x21, 0x21, Self.ipv6),
                try Self.client("2001:db8::1", 4711, "2001:db8::2", 465)
            ),
            // Extensions: of no length, of some, unknown.
            (
                Self.version2(0x21, 0x11, Self.ipv4 + [0x05, 0, 0, 0xE0, 0, 2, 1, 2]),
                try Self.client("192.0.2.1", 4711, "198.51.100.2", 25)
            ),
            (crc, try Self.client("192.0.2.1", 4711, "198.51.100.2", 25)),
            (Self.version2(0x20, 0x00, []), .ownAddresses),
            (Self.version2(0x20, 0x11, Self.ipv4), .ownAddresses),
            (Self.version2(0x20, 0xFF, [1]), .ownAddresses),
            (Self.version2(0x21, 0x00, []), .ownAddresses),
            (Self.version2(0x21, 0x00, [0x03, 0xFF]), .ownAddresses),
        ]
        for (octets, header) in rows { try Self.readSplit(octets, header) }
        let mapped =
            Array(repeating: UInt8(0), count: 10) + [255, 255, 192, 0, 2, 1]
            + Array(repeating: UInt8(0), count: 10) + [255, 255, 198, 51, 100, 2] + [0, 1, 0, 25]
        let read = try Self.read(Self.version2(0x21, 0x21, mapped))
        #expect(read?.0 == (try Self.client("192.0.2.1", 1, "198.51.100.2", 25)))
    }

    @Test func `the longest header of version 2`() throws {
        let extensions = [UInt8(0xE0), 0xFF, 0xF0] + Array(repeating: 7, count: 0xFFF0)
        let octets = Self.version2(0x21, 0x11, Self.ipv4 + extensions)
        #expect(octets.count == 16 + 65_535)
        #expect(try Self.read(Array(octets.dropLast())) == nil)
        #expect(try Self.read(octets)?.1 == octets.count)
    }

    @Test func `what is no header of version 2`() {
        let rows: [([UInt8], ProxyHeaderError)] = [
            (Self.version2(0x31, 0x11, Self.ipv4), .badVersion),
            (Self.version2(0x01, 0x11, Self.ipv4), .badVersion),
            (Self.version2(0x22, 0x11, Self.ipv4), .badVersion),
            (Self.version2(0x21, 0x12, Self.ipv4), .badFamily),
            (Self.version2(0x21, 0x22, Self.ipv6), .badFamily),
            (Self.version2(0x21, 0x31, Array(repeating: 0, count: 216)), .badFamily),
            (Self.version2(0x21, 0x01, Self.ipv4), .badFamily),
            (Self.version2(0x21, 0x41, Self.ipv4), .badFamily),
            (Self.version2(0x21, 0x11, []), .tooShort),
            (Self.version2(0x21, 0x11, Array(Self.ipv4.dropLast())), .tooShort),
            (Self.version2(0x21, 0x21, Self.ipv4), .tooShort),
            (Self.version2(0x21, 0x21, Array(Self.ipv6.dropLast())), .tooShort),
            (Self.version2(0x21, 0x11, Self.ipv4 + [1]), .badExtension),
            (Self.version2(0x21, 0x11, Self.ipv4 + [1, 0]), .badExtension),
            (Self.version2(0x21, 0x11, Self.ipv4 + [1, 0, 1]), .badExtension),
            (Self.version2(0x21, 0x11, Self.ipv4 + [1, 255, 255, 0]), .badExtension),
            (Self.version2(0x21, 0x11, Self.ipv4 + [3, 0, 3, 0, 0, 0]), .badExtension),
            (Self.version2(0x21, 0x11, Self.ipv4 + [3, 0, 4, 0, 0, 0, 0]), .badChecksum),
        ]
        for (octets, error) in rows {
            #expect(throws: error, "\(octets)") { try Self.read(octets) }
        }
    }

    /// The checksum is the one that is published for "123456789".
    @Test func `the checksum is CRC32c`() throws {
        #expect(Self.crc32c(Array("123456789".utf8)) == 0xE306_9283)
        var octets = try Self.withChecksum(
            Self.version2(0x21, 0x11, Self.ipv4 + [0x03, 0, 4, 0, 0, 0, 0]),
            at: 31
        )
        // Octet 28 is the type of the extension: without it there is no checksum.
        for index in 16..<octets.count where index != 28 {
            octets[index] ^= 1
            let read = try? Self.read(octets)
            #expect(read == nil, "octet \(index) was changed")
            octets[index] ^= 1
        }
    }

    private static func crc32c(_ octets: [UInt8]) -> UInt32 {
        var table: [UInt32] = []
        for value in UInt32(0)..<256 {
            table.append(
                (0..<8).reduce(value) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0x82F6_3B78 : sum >> 1 }
            )
        }
        return ~octets.reduce(UInt32.max) { sum, octet in
            sum >> 8 ^ table[Int((sum ^ UInt32(octet)) & 255)]
        }
    }

    private static func withChecksum(_ octets: [UInt8], at index: Int) throws -> [UInt8] {
        let sum = Self.crc32c(octets)
        var octets = octets
        for offset in 0..<4 {
            octets[index + offset] = UInt8(truncatingIfNeeded: sum >> UInt32(24 - 8 * offset))
        }
        return octets
    }

    /// Whatever is changed, the reader neither traps nor takes more than there is, and what it says of
    /// the whole it says of no shorter part.
    @Test func `headers that were changed at random`() throws {
        var randomness = Randomness(state: 20_261_129)
        let seeds = [
            Array("PROXY TCP4 192.0.2.1 198.51.100.2 4711 25\r\n".utf8),
            Array("PROXY TCP6 2001:db8::1 2001:db8::2 4711 465\r\n".utf8),
            Self.version2(0x21, 0x11, Self.ipv4 + [0x05, 0, 2, 1, 2]),
            Self.version2(0x21, 0x21, Self.ipv6 + [0x03, 0, 4, 0, 0, 0, 0]),
        ]
        var taken = 0
        for round in 0..<20_000 {
            var octets = seeds[round % seeds.count]
            for _ in 0..<Int.random(in: 1...3, using: &randomness) {
                let index = Int.random(in: 0..<octets.count, using: &randomness)
                switch UInt8.random(in: 0...3, using: &randomness) {
                case 0: octets[index] = UInt8.random(in: .min ... .max, using: &randomness)
                case 1: octets.remove(at: index)
                case 2: octets.insert(UInt8.random(in: 0x20...0x7E, using: &randomness), at: index)
                default: octets[index] ^= 1
                }
            }
            guard let (_, count) = try? Self.read(octets) else { continue }
            taken += 1
            #expect(count <= octets.count)
            let shorter = try? Self.read(Array(octets[..<(count - 1)]))
            #expect(shorter == nil)
        }
        #expect(taken > 0)
    }

    private struct Randomness: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            self.state = self.state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return self.state ^ self.state >> 33
        }
    }
}
