import Octets
import Testing

@testable import SMTPCore

/// The meter measures the same message in the same way, whatever framed it.
struct SMTPContentMeterTests {
    static let messages: [String] = [
        "",
        "a: b\r\n\r\nbody\r\n",
        "Received: x\r\n\tby y\r\nDelivered-To: z\r\nSubject: x\r\n\r\n.\r\n..\r\n.x\r\n\r\n",
        "a: b\r\nno field\r\nc: d\r\n",
        "a: b\r\n\r\nx\ny\r\n",
        "a: b\r\n\r\nx\ry\r\n",
        "a: b\r\n\r\n" + String(repeating: "x", count: 70) + "\r\n",
        "a: " + String(repeating: "x", count: 70) + "\r\n\r\nbody\r\n",
        "Received: 1\r\nReceived: 2\r\nReceived: 3\r\n\r\n",
        "a: b\r\n\r\n" + String(repeating: "x\r\n", count: 40),
    ]

    @Test(arguments: messages)
    func `dots and chunks are measured alike, and a meter survives commands`(text: String) {
        let message = octets(text)
        let expected = Self.readDots(message)
        #expect(expected.isComplete)
        for cut in 0...message.count {
            let chunks = [Array(message[..<cut]), Array(message[cut...])]
            #expect(Self.readChunks(chunks, octetByOctet: false) == expected)
            #expect(Self.readChunks(chunks, octetByOctet: true) == expected)
        }
    }

    struct Measure: Equatable {
        var content: [UInt8]?
        let faults: SMTPContentFaults
        let messageOctets: Int
        let bodyOffset: Int
        let hops: Int
        let isComplete: Bool

        init(_ meter: SMTPContentMeter, _ content: [UInt8], isComplete: Bool) {
            self.content = meter.faults.isEmpty ? content : nil
            self.faults = meter.faults
            self.messageOctets = meter.messageOctets
            self.bodyOffset = meter.bodyOffset
            self.hops = meter.hops
            self.isComplete = isComplete
        }
    }

    private static func newMeter() -> SMTPContentMeter {
        var limits = SMTPLimits()
        limits.maximumMessageOctets = 100
        limits.maximumHeaderOctets = 60
        limits.maximumTextLineOctets = 66
        limits.maximumReceived = 3
        return SMTPContentMeter(limits: limits, bareNewline: .reject)
    }

    private static func readDots(_ message: [UInt8]) -> Measure {
        var wire: [UInt8] = []
        for (index, octet) in message.enumerated() {
            let startsLine = index == 0 || message[..<index].suffix(2) == [0x0D, 0x0A]
            if startsLine, octet == .dot { wire.append(.dot) }
            wire.append(octet)
        }
        wire += octets(".\r\n")
        var meter = Self.newMeter()
        var content: [UInt8] = []
        var start = 0
        while true {
            let rest = wire.span.extracting(start...)
            let step = SMTPDotFraming.read(rest, into: &meter, appendingTo: &content)
            start += step.consumed
            if step.progress != .headerEnded {
                return Measure(meter, content, isComplete: step.progress == .ended)
            }
        }
    }

    private static func readChunks(_ chunks: [[UInt8]], octetByOctet: Bool) -> Measure {
        var wire: [UInt8] = []
        for (index, chunk) in chunks.enumerated() {
            let last = index + 1 == chunks.count ? " LAST" : ""
            wire += octets("NOOP\r\nBDAT \(chunk.count)\(last)\r\n") + chunk
        }
        var reader = ChunkFraming(meter: Self.newMeter())
        if octetByOctet {
            for octet in wire { reader.receive([octet]) }
        } else {
            reader.receive(wire)
        }
        #expect(reader.commands == 2 * chunks.count)
        return Measure(reader.meter, reader.content, isComplete: reader.isComplete)
    }
}

/// A stub of BDAT, RFC 3030 §2: commands, with a chunk of so many octets behind each BDAT.
private struct ChunkFraming {
    var meter: SMTPContentMeter
    private(set) var content: [UInt8] = []
    private(set) var commands = 0
    private(set) var isComplete = false

    private var scanner = SMTPLineScanner(maximumLineOctets: SMTPLimits.commandLineOctets)
    private var input: [UInt8] = []
    /// Octets of the chunk that are still to come; 0 between two chunks.
    private var octetsLeft = 0
    private var isLast = false
    /// Octets of the message that the meter has not taken: none, or a CR that ended a chunk.
    private var rest: [UInt8] = []

    init(meter: SMTPContentMeter) {
        self.meter = meter
    }

    mutating func receive(_ octets: [UInt8]) {
        self.input += octets
        while !self.isComplete {
            guard self.octetsLeft > 0 ? self.readChunk() : self.readCommand() else { return }
        }
    }

    private mutating func readCommand() -> Bool {
        let input = self.input
        guard let count = try? self.scanner.endOfLine(in: input.span) else { return false }
        let words = input[..<count].split(separator: .space).map {
            String(decoding: $0, as: UTF8.self)
        }
        self.input.removeFirst(count + self.scanner.lineEndOctets)
        self.commands += 1
        guard words.first == "BDAT" else { return true }
        self.octetsLeft = Int(words[1]) ?? 0
        self.isLast = words.last == "LAST"
        self.isComplete = self.isLast && self.octetsLeft == 0
        return true
    }

    private mutating func readChunk() -> Bool {
        guard !self.input.isEmpty else { return false }
        let chunk = self.input.prefix(self.octetsLeft)
        self.input.removeFirst(chunk.count)
        self.octetsLeft -= chunk.count
        self.rest += chunk
        let octets = self.rest
        let taken = octets.withUnsafeBufferPointer { octets in
            var run = SMTPContentMeter.Run()
            while run.end < octets.count {
                let progress = self.meter.readLine(octets, &run, appendingTo: &self.content)
                if progress == .needsOctets { break }
            }
            self.meter.keep(octets, &run, in: &self.content)
            return run.end
        }
        self.rest.removeFirst(taken)
        self.isComplete = self.isLast && self.octetsLeft == 0
        return true
    }
}
