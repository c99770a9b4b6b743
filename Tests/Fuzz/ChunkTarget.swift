import SMTPCore

/// A message in chunks: how BDAT's octets become a message, without the session round it.
///
/// The input is the message; its last three octets say how large the chunks are, into what pieces they are
/// cut on the way, and the rule for bare CR and LF.
enum ChunkTarget {
    static func play(_ input: [UInt8]) {
        guard input.count >= 3 else { return }
        let how = Array(input.suffix(3))
        let message = input.dropLast(3)
        let rule: BareNewlineRule = how[2] & 1 == 0 ? .reject : .normalize
        let isBinary = how[2] & 2 != 0
        let whole = Self.read([message], cut: .max, rule, isBinary: isBinary)
        let chunks = pieces(message, cut: how[0])
        let cutUp = Self.read(chunks, cut: how[1], rule, isBinary: isBinary)
        promise(whole == cutUp, "a message depends on its chunks: \(whole) and \(cutUp)")
        guard whole.faults == 0 else { return }
        promise(whole.octets == whole.content.count, "the size is not that of the message")
        promise(whole.bodyOffset <= whole.octets, "the body begins behind the message")
        guard rule == .reject else { return }
        // A last line without its end gets one.
        let sent = Array(message)
        promise(
            whole.content == sent || whole.content == sent + [0x0D, 0x0A],
            "the message is not what was sent: \(whole.content)"
        )
    }

    private struct Read: Equatable {
        var content: [UInt8] = []
        var faults: SMTPContentFaults.RawValue = 0
        var bodyOffset = 0
        var octets = 0
    }

    private static func read(
        _ chunks: [ArraySlice<UInt8>],
        cut: UInt8,
        _ rule: BareNewlineRule,
        isBinary: Bool
    ) -> Read {
        var limits = SMTPLimits()
        limits.maximumMessageOctets = 4_096
        limits.maximumHeaderOctets = 1_024
        limits.maximumTextLineOctets = 256
        limits.maximumReceived = 3
        var meter = SMTPContentMeter(limits: limits, bareNewline: rule, isBinary: isBinary)
        var framing = SMTPChunkFraming()
        var content: [UInt8] = []
        for chunk in chunks {
            framing.begin(SMTPChunk(octets: chunk.count, isLast: false))
            for piece in pieces(chunk, cut: cut) {
                var rest = piece
                while !rest.isEmpty {
                    let step = framing.read(rest.span, into: &meter, appendingTo: &content)
                    promise(step.consumed > 0 || step.progress == .headerEnded, "no octet is taken")
                    rest = rest.dropFirst(step.consumed)
                }
            }
            promise(framing.octetsLeft == 0, "a chunk is not at its end")
        }
        framing.begin(SMTPChunk(octets: 0, isLast: true))
        var progress = SMTPChunkFraming.Progress.read
        let nothing: [UInt8] = []
        while progress != .ended {
            progress = framing.read(nothing.span, into: &meter, appendingTo: &content).progress
            promise(progress == .ended || progress == .headerEnded, "the message does not end")
        }
        // Of one that is refused only the faults are promised.
        guard meter.faults.isEmpty else { return Read(faults: meter.faults.rawValue) }
        return Read(content: content, bodyOffset: meter.bodyOffset, octets: meter.messageOctets)
    }
}
