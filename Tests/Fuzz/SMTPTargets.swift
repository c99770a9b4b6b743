import Octets
import SMTPCore

/// What a client sends, read by the parts of SMTPCore.
enum SMTPTargets {
    /// The lines of a stream are the same, however it is cut.
    static func line(_ input: [UInt8]) {
        guard let cut = input.last else { return }
        let octets = input.dropLast()
        let whole = Self.lines([octets])
        let cutUp = Self.lines(pieces(octets, cut: cut))
        promise(whole == cutUp, "lines depend on the cut: \(whole) and \(cutUp)")
    }

    private static func lines(_ pieces: [ArraySlice<UInt8>]) -> [[UInt8]] {
        var scanner = SMTPLineScanner(maximumLineOctets: 64)
        var waiting: [UInt8] = []
        var found: [[UInt8]] = []
        for piece in pieces {
            waiting += piece
            do {
                while let length = try scanner.endOfLine(in: waiting.span) {
                    let line = waiting.prefix(length)
                    promise(!line.contains(0x0A), "a line has an LF in it")
                    found.append(Array(line))
                    waiting.removeFirst(length + scanner.lineEndOctets)
                }
            } catch {
                return found + [Array("\(error)".utf8)]
            }
        }
        return found
    }

    /// What comes of the octets behind DATA.
    private struct Read: Equatable {
        var content: [UInt8] = []
        var isEnded = false
        var rest: [UInt8] = []
        var faults: SMTPContentFaults.RawValue = 0
        var bodyOffset = 0
        var octets = 0
    }

    /// A message is the same however it is cut, and nothing of it is a bare CR or LF.
    static func data(_ input: [UInt8]) {
        guard let cut = input.last else { return }
        let octets = input.dropLast()
        for rule in [BareNewlineRule.reject, .normalize] {
            let whole = Self.read([octets], rule)
            let cutUp = Self.read(pieces(octets, cut: cut), rule)
            promise(whole == cutUp, "a message depends on the cut: \(whole) and \(cutUp)")
            guard whole.isEnded, whole.faults == 0 else { continue }
            promise(!Self.hasBareNewline(whole.content), "a message has a bare CR or LF")
            promise(whole.octets == whole.content.count, "the size is not that of the message")
            promise(whole.bodyOffset <= whole.octets, "the body begins behind the message")
            guard rule == .reject else { continue }
            let (message, rest) = Self.unstuffed(Array(octets))
            promise(
                whole.content == message && whole.rest == rest,
                "the message is not what was sent: \(whole.content) and \(message)"
            )
        }
    }

    /// A message without bare CR and LF as RFC 5321 §4.5.2 receives it, line by line, and what follows it.
    private static func unstuffed(_ octets: [UInt8]) -> (message: [UInt8], rest: [UInt8]) {
        var message: [UInt8] = []
        var start = 0
        for index in octets.indices where octets[index] == 0x0A {
            let line = octets[start...index]
            start = index + 1
            if line.elementsEqual([0x2E, 0x0D, 0x0A]) { break }
            message += line.first == 0x2E ? line.dropFirst() : line
        }
        return (message, Array(octets[start...]))
    }

    private static func read(_ pieces: [ArraySlice<UInt8>], _ rule: BareNewlineRule) -> Read {
        var limits = SMTPLimits()
        limits.maximumMessageOctets = 4_096
        limits.maximumHeaderOctets = 1_024
        limits.maximumTextLineOctets = 256
        limits.maximumReceived = 3
        var meter = SMTPContentMeter(limits: limits, bareNewline: rule)
        var (rest, content): ([UInt8], [UInt8]) = ([], [])
        var isEnded = false
        for piece in pieces {
            rest += piece
            while !isEnded {
                let step = SMTPDotFraming.read(rest.span, into: &meter, appendingTo: &content)
                rest.removeFirst(step.consumed)
                isEnded = step.progress == .ended
                if step.progress == .needsOctets { break }
            }
        }
        // What is kept of a message that did not end is a matter of the cut.
        guard isEnded else { return Read() }
        // Of one that is refused only the faults, and where it ended, are promised.
        guard meter.faults.isEmpty else {
            return Read(isEnded: true, rest: rest, faults: meter.faults.rawValue)
        }
        return Read(
            content: content,
            isEnded: true,
            rest: rest,
            bodyOffset: meter.bodyOffset,
            octets: meter.messageOctets
        )
    }

    private static func hasBareNewline(_ octets: [UInt8]) -> Bool {
        octets.indices.contains { index in
            switch octets[index] {
            case 0x0D: index + 1 == octets.count || octets[index + 1] != 0x0A
            case 0x0A: index == 0 || octets[index - 1] != 0x0D
            default: false
            }
        }
    }

    /// A message as RFC 5321 §4.5.2 sends it.
    static func stuffed(_ message: [UInt8]) -> [UInt8] {
        var sent: [UInt8] = []
        var isAtLineStart = true
        for octet in message {
            if isAtLineStart, octet == 0x2E { sent.append(0x2E) }
            sent.append(octet)
            isAtLineStart = octet == 0x0A
        }
        return sent + [0x2E, 0x0D, 0x0A]
    }

    /// An address that is taken is one local-part and one domain, and is taken again as it stands.
    static func address(_ input: [UInt8]) {
        guard let mailbox = try? Mailbox(address: input) else { return }
        promise(mailbox.octets == input, "an address was changed")
        promise(
            Array(mailbox.localPart) + [0x40] + Array(mailbox.domain) == input,
            "an address is more than local-part, @ and domain"
        )
        promise(
            !input.contains { $0 < 0x20 || $0 == 0x7F },
            "an address has a control octet"
        )
        let isPath = (try? ReversePath(address: input)) != nil
        promise(isPath == ((try? ForwardPath(address: input)) != nil), "a path of one side only")
        promise(isPath == (input.count + 2 <= SMTPLimits.pathOctets), "a path of \(input.count)")
        for path in [[0x3C] + input, input + [0x3E], input + [0x20], input + [0x0D, 0x0A]] {
            if let other = try? Mailbox(address: path) {
                promise(other.octets == path, "an address was changed")
            }
        }
    }

    /// A command line is a verb and an argument that lies in it.
    static func command(_ input: [UInt8]) {
        let line = SMTPCommandLine(in: input.span, count: input.count)
        promise(
            line.argument.lowerBound >= 0 && line.argument.upperBound <= input.count,
            "an argument lies outside of its line"
        )
    }

    /// The end of a header section is the same however it is cut.
    static func header(_ input: [UInt8]) {
        guard let cut = input.last else { return }
        let octets = input.dropLast()
        // A reader is given lines that end in CRLF.
        guard !Self.hasBareNewline(Array(octets)) else { return }
        var whole = HeaderSectionReader()
        whole.read(Array(octets).span)
        var cutUp = HeaderSectionReader()
        for piece in pieces(octets, cut: cut) { cutUp.read(Array(piece).span) }
        promise(whole.bodyOffset == cutUp.bodyOffset, "where a body begins depends on the cut")
        promise(whole.fields == cutUp.fields, "how many fields there are depends on the cut")
        promise(whole.finalBodyOffset <= octets.count, "a body begins behind the octets")
    }
}
