import Testing

@testable import SMTPCore

struct SMTPDotFramingTests {
    struct Outcome: Equatable {
        var content: [UInt8]?
        var consumed = 0
        var faults: SMTPContentFaults = []
        var messageOctets = 0
        var bodyOffset = 0
        var hops = 0
        var headerEnds: [Int] = []
        var hasEnded = false
    }

    // MARK: Where a message ends

    static let lineEnds = ["\r\n", "\n", "\r", "\n\r", "\r\r\n"]

    /// The 25 ways to write a lone dot with two line ends, of which most ended a message somewhere.
    @Test(arguments: lineEnds, lineEnds)
    func `only CRLF dot CRLF ends a message`(before: String, after: String) {
        let prefixes = ["", "Subject: x\r\n\r\nbody", ".", "\r\n"]
        for prefix in prefixes {
            let octets = octets(prefix + before + "." + after + "MAIL FROM:<x@y>\r\n.\r\nQUIT\r\n")
            for limit in [Int.max, 3] {
                for rule in [BareNewlineRule.reject, .normalize] {
                    let outcome = self.read(octets, rule) { $0.maximumMessageOctets = limit }
                    #expect(outcome.hasEnded)
                    #expect(outcome.consumed == Self.trueEnd(of: octets))
                }
            }
        }
    }

    /// The literal definition, CRLF "." CRLF, the first CRLF being that of the DATA line.
    static func trueEnd(of octets: [UInt8]) -> Int? {
        let stream = [0x0D, 0x0A] + octets
        let end: [UInt8] = [0x0D, 0x0A, 0x2E, 0x0D, 0x0A]
        guard stream.count >= end.count else { return nil }
        for start in 0...(stream.count - end.count)
        where stream[start..<start + end.count].elementsEqual(end) {
            return start + end.count - 2
        }
        return nil
    }

    @Test(arguments: ["\n", "\r", "\n\r", "\r\r\n", "x\ny\r\n", "x\ry\r\n"])
    func `a bare CR or LF refuses the message at its true end`(lineEnd: String) {
        let outcome = self.read(octets("Subject: x\r\n\r\na" + lineEnd + ".\r\n\r\n.\r\nQUIT\r\n"))
        #expect(!outcome.faults.isEmpty)
        #expect(outcome.hasEnded)
    }

    // MARK: Transparency

    static let transparency: [(String, String)] = [
        (".\r\n", ""),
        ("\r\n.\r\n", "\r\n"),
        ("a\r\n.\r\n", "a\r\n"),
        ("..\r\n.\r\n", ".\r\n"),
        ("...\r\n.\r\n", "..\r\n"),
        (".a\r\n.\r\n", "a\r\n"),
        ("..a\r\n..b\r\n.\r\n", ".a\r\n.b\r\n"),
        ("a.\r\nb..\r\n.\r\n", "a.\r\nb..\r\n"),
        (". \r\n.\r\n", " \r\n"),
        (".\u{0}\r\n.\r\n", "\u{0}\r\n"),
        ("a\r\n\r\n\r\n.\r\n", "a\r\n\r\n\r\n"),
        ("é\u{2028}\u{85}\u{0B}\u{0C}\u{0}\r\n.\r\n", "é\u{2028}\u{85}\u{0B}\u{0C}\u{0}\r\n"),
    ]

    @Test(arguments: transparency)
    func `one leading dot goes, everything else stays`(wire: String, content: String) {
        let outcome = self.read(octets(wire))
        #expect(outcome.content == octets(content))
        #expect(outcome.messageOctets == content.utf8.count)
        #expect(outcome.faults.isEmpty)
        #expect(outcome.consumed == wire.utf8.count)
    }

    @Test func `every octet passes but CR and LF alone`() {
        for octet in UInt8.min...UInt8.max where octet != 0x0D && octet != 0x0A {
            let line = [0x61, octet, octet, 0x0D, 0x0A]
            let outcome = self.read(line + octets(".\r\n"))
            #expect(outcome.content == line)
        }
    }

    // MARK: Normalised

    static let normalized: [(String, String)] = [
        ("a\nb\r\n.\r\n", "a\r\nb\r\n"),
        ("a\n\nb\r\n.\r\n", "a\r\n\r\nb\r\n"),
        ("a\rb\r\n.\r\n", "a\r\nb\r\n"),
        ("a\r\rb\r\n.\r\n", "a\r\n\r\nb\r\n"),
        ("a\r\r\n.\r\n", "a\r\n"),
        ("a\r\r\r\n\r\r\nb\r\n.\r\n", "a\r\n\r\nb\r\n"),
        ("a\n\rb\r\n.\r\n", "a\r\n\r\nb\r\n"),
        ("a\n.\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\n.\r\nb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\n..b\r\n.\r\n", "a\r\n.b\r\n"),
        ("a\n...b\r\n.\r\n", "a\r\n..b\r\n"),
        ("a\n.b\r\n.\r\n", "a\r\n.b\r\n"),
        ("a\r..b\r\n.\r\n", "a\r\n.b\r\n"),
        ("a\r.\rb\r\n.\r\n", "a\r\n.\r\nb\r\n"),
        ("a\n..\r\n.\r\n", "a\r\n.\r\n"),
        ("a\r..\r\n.\r\n", "a\r\n.\r\n"),
        ("a\n\r\n.\r\n", "a\r\n\r\n"),
        (".\nb\r\n.\r\n", "\r\nb\r\n"),
        (".\rb\r\n.\r\n", "\r\nb\r\n"),
    ]

    @Test(arguments: normalized)
    func `a bare LF or CR becomes CRLF, and takes the dot that was doubled behind it`(
        wire: String,
        content: String
    ) {
        let outcome = self.read(octets(wire), .normalize)
        #expect(outcome.content == octets(content))
        #expect(outcome.messageOctets == content.utf8.count)
        #expect(outcome.faults.isEmpty)
    }

    /// Message and offset of its body, where lines end in something else than CRLF.
    static let normalizedHeaders: [(String, String, Int)] = [
        ("a: b\r\r\nc: d\r\r\n\r\r\nno: field\r\r\n", "a: b\r\nc: d\r\n\r\nno: field\r\n", 12),
        ("a: b\rc: d\r\rno: field\r\n", "a: b\r\nc: d\r\n\r\nno: field\r\n", 12),
        ("a: b\nc: d\n\nno: field\r\n", "a: b\r\nc: d\r\n\r\nno: field\r\n", 12),
        ("a: b\r\r\rc: d\r\n", "a: b\r\n\r\n\r\nc: d\r\n", 6),
    ]

    @Test(arguments: normalizedHeaders)
    func `a header whose lines are normalised ends at its empty line`(
        wire: String,
        content: String,
        bodyOffset: Int
    ) {
        let outcome = self.read(octets(wire + ".\r\n"), .normalize)
        #expect(outcome.content == octets(content))
        #expect(outcome.bodyOffset == bodyOffset)
        #expect(outcome.headerEnds.count == 1)
    }

    @Test func `a run of CRs is a line too long, not a run of lines`() {
        let run = String(repeating: "\r", count: 100)
        let outcome = self.read(octets("a: b\r\n\r\nx" + run + "y\r\n.\r\n"), .normalize) {
            $0.maximumTextLineOctets = 50
        }
        #expect(outcome.faults == .lineTooLong)
    }

    // MARK: Limits

    @Test(arguments: [(0, true), (1, false)])
    func `a message may have the maximum of octets and not one more`(more: Int, isKept: Bool) {
        let line = String(repeating: "x", count: 98 + more) + "\r\n"
        let outcome = self.read(octets(line + ".\r\n")) { $0.maximumMessageOctets = 100 }
        #expect(outcome.faults == (isKept ? [] : .messageTooBig))
    }

    @Test(arguments: [(0, true), (1, false)])
    func `a text line may have the maximum of octets, its dot not counted`(
        more: Int,
        isKept: Bool
    ) {
        for dot in ["", "."] {
            let line = dot + String(repeating: "x", count: 48 + more) + "\r\n"
            let outcome = self.read(octets("a: b\r\n\r\n" + line + ".\r\n")) {
                $0.maximumTextLineOctets = 50
            }
            // Without a dot of its own the line's first x is not transparency.
            #expect(outcome.faults == (isKept ? [] : .lineTooLong))
        }
    }

    @Test(arguments: [(0, true), (1, false)])
    func `a header block may have the maximum of octets`(more: Int, isKept: Bool) {
        let field = "a: " + String(repeating: "x", count: 93 + more) + "\r\n"
        let outcome = self.read(octets(field + "\r\nbody\r\n.\r\n")) {
            $0.maximumHeaderOctets = 100
        }
        #expect(outcome.faults == (isKept ? [] : .headerTooBig))
    }

    @Test(arguments: [(0, true), (1, false)])
    func `a header block may have the maximum of fields`(more: Int, isKept: Bool) {
        let fields = String(repeating: "a:b\r\n c:\r\n", count: 10 + more)
        let outcome = self.read(octets(fields + "\r\nd:e\r\n.\r\n")) {
            $0.maximumHeaderFields = 10
        }
        #expect(outcome.faults == (isKept ? [] : .headerTooBig))
    }

    @Test func `a long body is no long header`() {
        let body = String(repeating: "x\r\n", count: 1000)
        let outcome = self.read(octets("a: b\r\n\r\n" + body + ".\r\n")) {
            $0.maximumHeaderOctets = 20
        }
        #expect(outcome.faults.isEmpty)
    }

    @Test(arguments: [(4, true), (5, false)])
    func `so many hops are a loop`(hops: Int, isKept: Bool) {
        let fields = (0..<hops).map { $0 % 2 == 0 ? "ReCeived: x\r\n" : "delivered-TO : y\r\n" }
        let outcome = self.read(octets(fields.joined() + "\r\nReceived: no\r\n.\r\n")) {
            $0.maximumReceived = 5
        }
        #expect(outcome.hops == hops)
        #expect(outcome.faults == (isKept ? [] : .tooManyHops))
    }

    @Test func `no limit of hops is no loop`() {
        let fields = String(repeating: "Received: x\r\n", count: 500)
        let outcome = self.read(octets(fields + ".\r\n")) { $0.maximumReceived = 0 }
        #expect(outcome.faults.isEmpty)
        #expect(outcome.hops == 500)
    }

    // MARK: The header block

    /// Message, offset of the body, hops; no offset where the block ends with the message.
    static let headers: [(String, Int, Int, endsBeforeBody: Bool)] = [
        ("", 0, 0, false),
        ("\r\n", 0, 0, true),
        ("\r\nbody\r\n", 0, 0, true),
        ("a: b\r\n", 6, 0, false),
        ("a: b\r\n\r\n", 6, 0, true),
        ("a: b\r\n\r\nbody\r\n", 6, 0, true),
        ("a:\r\n b\r\n\tc\r\n\r\n", 12, 0, true),
        ("a : b\r\n\r\n", 7, 0, true),
        ("no field\r\n\r\n", 0, 0, true),
        ("From x Mon\r\na: b\r\n", 18, 0, false),
        (">From x Mon\r\na: b\r\n\r\n", 19, 0, true),
        ("From\r\na: b\r\n", 0, 0, true),
        ("From \r\na: b\r\n", 0, 0, true),
        ("a: b\r\nFrom x Mon\r\n", 6, 0, true),
        ("\u{FEFF}a: b\r\n", 0, 0, true),
        ("a b: c\r\n", 0, 0, true),
        ("a: b\r\nnocolon\r\nc: d\r\n", 6, 0, true),
        ("a: b\r\n: x\r\n", 6, 0, true),
        ("a: b\r\nf\u{0}o: x\r\n", 6, 0, true),
        ("a: b\r\nfé: x\r\n", 6, 0, true),
        (" a: b\r\n", 0, 0, true),
        ("Received: a\r\nX-Received: b\r\nReceived2: c\r\nReceive: d\r\n", 54, 1, false),
        ("Delivered-To: a\r\nDelivered-T0: a\r\nreceived:\r\n Received: x\r\n", 59, 2, false),
    ]

    @Test(arguments: headers)
    func `the header block ends where it stops being one`(
        message: String,
        bodyOffset: Int,
        hops: Int,
        endsBeforeBody: Bool
    ) {
        let outcome = self.read(octets(message + ".\r\n"))
        #expect(outcome.bodyOffset == bodyOffset)
        #expect(outcome.hops == hops)
        #expect(outcome.headerEnds.count == (endsBeforeBody ? 1 : 0))
        #expect(outcome.content == octets(message))
    }

    // MARK: Reading in every way

    /// Reads `octets` whole, one by one and split at every offset, and expects one result.
    private func read(
        _ octets: [UInt8],
        _ rule: BareNewlineRule = .reject,
        _ change: (inout SMTPLimits) -> Void = { _ in }
    ) -> Outcome {
        var limits = SMTPLimits()
        change(&limits)
        var first: Outcome?
        for pieces in splits(octets) {
            let outcome = Self.read(pieces, limits, rule)
            if let first, first != outcome { Issue.record("split differently: \(outcome)") }
            first = outcome
        }
        return first ?? Outcome()
    }

    static func read(
        _ pieces: [[UInt8]],
        _ limits: SMTPLimits,
        _ rule: BareNewlineRule
    ) -> Outcome {
        var meter = SMTPContentMeter(limits: limits, bareNewline: rule)
        var outcome = Outcome()
        var content: [UInt8] = []
        var buffer: [UInt8] = []
        pieces: for piece in pieces {
            buffer += piece
            while true {
                let step = SMTPDotFraming.read(buffer.span, into: &meter, appendingTo: &content)
                buffer.removeFirst(step.consumed)
                outcome.consumed += step.consumed
                switch step.progress {
                case .needsOctets:
                    if buffer.count > 2 { Issue.record("octets were left: \(buffer)") }
                    continue pieces
                case .headerEnded:
                    outcome.headerEnds.append(outcome.consumed)
                case .ended:
                    outcome.hasEnded = true
                    break pieces
                }
            }
        }
        #expect(content.count <= limits.maximumMessageOctets)
        outcome.faults = meter.faults
        outcome.content = meter.faults.isEmpty ? content : nil
        outcome.messageOctets = meter.messageOctets
        outcome.bodyOffset = meter.bodyOffset
        outcome.hops = meter.hops
        return outcome
    }
}
