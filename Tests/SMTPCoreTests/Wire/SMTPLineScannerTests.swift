import SMTPCore
import Testing

struct SMTPLineScannerTests {
    enum Outcome: Equatable {
        case line(Int)
        case needsOctets
        case refused(SMTPLineError)
    }

    static let table: [(String, Outcome)] = [
        ("", .needsOctets),
        ("NOOP", .needsOctets),
        ("NOOP\r", .needsOctets),
        ("\r\n", .line(0)),
        ("NOOP\r\n", .line(4)),
        ("NOOP\r\nQUIT\r\n", .line(4)),
        ("a\nb\r\n", .refused(.bareLineFeed(at: 1))),
        ("\n", .refused(.bareLineFeed(at: 0))),
        ("a\rb\r\n", .refused(.bareCarriageReturn(at: 1))),
        ("a\r\r\n", .refused(.bareCarriageReturn(at: 1))),
        ("12345678\r\n", .line(8)),
        ("123456789\r\n", .refused(.lineTooLong(limit: 10))),
        ("1234567890", .refused(.lineTooLong(limit: 10))),
        ("1234567890\n", .refused(.lineTooLong(limit: 10))),
        ("\u{2028}\u{85}\u{0B}\u{0C}\r\n", .line(7)),
    ]

    @Test(arguments: table)
    func `a line gives one result, however it arrives`(text: String, expected: Outcome) {
        for pieces in splits(octets(text)) {
            var scanner = SMTPLineScanner(maximumLineOctets: 10)
            var buffer: [UInt8] = []
            var outcome = Outcome.needsOctets
            for piece in pieces where outcome == .needsOctets {
                buffer += piece
                outcome = self.scan(&scanner, buffer)
            }
            #expect(outcome == expected)
        }
    }

    private func scan(_ scanner: inout SMTPLineScanner, _ buffer: [UInt8]) -> Outcome {
        do {
            guard let count = try scanner.endOfLine(in: buffer.span) else { return .needsOctets }
            return .line(count)
        } catch {
            return .refused(error)
        }
    }
}
