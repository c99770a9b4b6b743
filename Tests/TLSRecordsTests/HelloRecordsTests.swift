import TLSRecords
import Testing

/// What the first records of a handshake say, whole, octet by octet, cut off and wrong.
@Suite struct HelloRecordsTests {
    /// A vector: its length in `octets` octets, then its content.
    private static func vector(_ content: [UInt8], lengthOctets octets: Int) -> [UInt8] {
        (0..<octets).reversed().map { UInt8(truncatingIfNeeded: content.count >> ($0 * 8)) }
            + content
    }

    private static func record(_ type: UInt8, _ handshake: [UInt8]) -> [UInt8] {
        [22, 3, 1] + self.vector([type] + self.vector(handshake, lengthOctets: 3), lengthOctets: 2)
    }

    private static func clientHello(extensions: [UInt8]) -> [UInt8] {
        self.record(
            1,
            [3, 3] + [UInt8](repeating: 7, count: 32) + self.vector([1, 2, 3], lengthOctets: 1)
                + self.vector([0x13, 0x01, 0x13, 0x02], lengthOctets: 2)
                + self.vector([0], lengthOctets: 1) + self.vector(extensions, lengthOctets: 2)
        )
    }

    private static func serverName(_ name: String, type: UInt8 = 0) -> [UInt8] {
        let entry = [type] + self.vector(Array(name.utf8), lengthOctets: 2)
        return [0, 0] + self.vector(self.vector(entry, lengthOctets: 2), lengthOctets: 2)
    }

    private static let other: [UInt8] = [0, 10, 0, 2, 0, 0]

    @Test(
        arguments: [
            (serverName("mx1.example.com"), "mx1.example.com"),
            (other + serverName("mx1.example.com"), "mx1.example.com"), (other, nil), ([], nil),
            (serverName("mx1\u{0}.example"), nil), (serverName("mx 1"), nil),
            (serverName("mx1", type: 1), nil),
            (serverName(String(repeating: "x", count: 256)), nil),
            ([0, 0, 0, 9, 0], nil),
        ] as [([UInt8], String?)]
    )
    func `the name that a client asks for`(extensions: [UInt8], name: String?) {
        let hello = Self.clientHello(extensions: extensions)
        var whole = HelloRecords()
        whole.clientSent(hello + [1, 2, 3])
        #expect(whole.serverName == name)
        var pieces = HelloRecords()
        for octet in hello { pieces.clientSent([octet]) }
        #expect(pieces.serverName == name)
    }

    @Test func `a record that is cut off or no handshake says nothing`() {
        let hello = Self.clientHello(extensions: Self.serverName("mx1.example.com"))
        for count in 0..<hello.count {
            var records = HelloRecords()
            records.clientSent(hello.prefix(count))
            #expect(records.serverName == nil)
        }
        // Lengths inside the record that point behind its end.
        for index in hello.indices {
            var wrong = hello
            wrong[index] = 0xFF
            var records = HelloRecords()
            records.clientSent(wrong)
            #expect(
                records.serverName == nil || records.serverName?.hasSuffix("example.com") == true
            )
        }
        var text = HelloRecords()
        text.clientSent(Array("MAIL FROM:<a@b>\r\n".utf8))
        text.clientSent(hello)
        #expect(text.serverName == nil)
    }

    @Test func `the cipher suite that the server chose`() {
        let hello = Self.record(
            2,
            [3, 3] + [UInt8](repeating: 9, count: 32)
                + Self.vector([UInt8](repeating: 5, count: 32), lengthOctets: 1) + [0x13, 0x02, 0]
        )
        var records = HelloRecords()
        records.serverSent(hello)
        #expect(records.cipher == 0x1302)
        records.serverSent(Self.record(2, [UInt8](repeating: 0, count: 40)))
        #expect(records.cipher == 0x1302)
        for count in 0..<(5 + 4 + 2 + 32 + 1 + 32 + 2) {
            var cut = HelloRecords()
            cut.serverSent(hello.prefix(count))
            #expect(cut.cipher == nil)
        }
        var alert = HelloRecords()
        alert.serverSent([21, 3, 3, 0, 2, 2, 40])
        #expect(alert.cipher == nil)
    }
}
