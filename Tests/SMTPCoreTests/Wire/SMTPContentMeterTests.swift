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
        var framing = SMTPChunkFraming()
        var meter = Self.newMeter()
        var content: [UInt8] = []
        var isComplete = false
        for (index, chunk) in chunks.enumerated() {
            let isLast = index + 1 == chunks.count
            framing.begin(SMTPChunk(octets: chunk.count, isLast: isLast))
            // What follows the chunk is not the message's.
            let wire = chunk + octets("NOOP\r\n")
            var start = 0
            while true {
                let end = octetByOctet ? min(start + 1, wire.count) : wire.count
                let piece = wire.span.extracting(start..<end)
                let step = framing.read(piece, into: &meter, appendingTo: &content)
                start += step.consumed
                if step.progress == .ended { isComplete = true }
                if step.progress == .ended || step.progress == .chunkEnded { break }
            }
            #expect(start == chunk.count)
        }
        return Measure(meter, content, isComplete: isComplete)
    }
}
