import AllocationCount
import JSON
import PolicyProtocol
import SMTPCore

/// What the small loops cost, one at a time: `micro-bench [word of a name]`.
///
/// Prints nanoseconds (the best of seven series, for the machine is never quiet) and allocations,
/// which do not depend on the machine.
@main
enum MicroBench {
    static func main() {
        let word = CommandLine.arguments.dropFirst().first ?? ""
        print("             ns  allocations")
        for loop in Loop.all where loop.name.contains(word) {
            let cost = Self.measure(loop)
            let columns = [Self.tenths(cost.nanoseconds, 15), Self.tenths(cost.allocations, 13)]
            print(columns.joined(), loop.name, separator: "  ")
        }
    }

    private static func measure(_ loop: Loop) -> (nanoseconds: Double, allocations: Double) {
        let clock = ContinuousClock()
        loop.body(max(1, loop.rounds / 10))
        var best = Double.infinity
        var allocations = Double.infinity
        for _ in 0..<7 {
            let before = allocation_count()
            let time = clock.measure { loop.body(loop.rounds) }
            let rounds = Double(loop.rounds * loop.unitsInRound)
            best = min(best, time / .nanoseconds(1) / rounds)
            allocations = min(allocations, Double(allocation_count() - before) / rounds)
        }
        return (best, allocations)
    }

    /// A number with one decimal, right-aligned.
    private static func tenths(_ value: Double, _ width: Int) -> String {
        let tenths = Int(value * 10 + 0.5)
        let text = "\(tenths / 10).\(tenths % 10)"
        return String(repeating: " ", count: max(0, width - text.utf8.count)) + text
    }
}

/// One thing measured.
private struct Loop: Sendable {
    let name: String
    let rounds: Int
    /// How many lines, events or verdicts one round handles.
    let unitsInRound: Int
    /// Runs so many rounds.
    let body: @Sendable (Int) -> Void

    init(_ name: String, rounds: Int, units: Int = 1, _ body: @escaping @Sendable (Int) -> Void) {
        self.name = name
        self.rounds = rounds
        self.unitsInRound = units
        self.body = body
    }

    static let all = Self.smtp + Self.frames + Self.verdicts + Self.events
}

/// Keeps the compiler from removing a computation whose result is not used.
@inline(never)
private func use<Value>(_ value: borrowing Value) {}

// MARK: - The client's octets

extension Loop {
    private static let smtp: [Self] = [
        Loop("line scan, a command of 40 octets", rounds: 200_000) { rounds in
            let line = Array("RCPT TO:<somebody.else@mail.example.org>\r\n".utf8)
            var scanner = SMTPLineScanner(maximumLineOctets: 512)
            for _ in 0..<rounds { use(try? scanner.endOfLine(in: line.span)) }
        },
        Loop("data scan, a KiB of lines of 78", rounds: 500, units: 100) { rounds in
            let line = String(repeating: "x", count: 76) + "\r\n"
            let text = String(repeating: line, count: 102_400 / 78)
            let message = Array("Subject: x\r\n\r\n\(text).\r\n".utf8)
            var content: [UInt8] = []
            for _ in 0..<rounds {
                var meter = SMTPContentMeter(limits: SMTPLimits(), bareNewline: .reject)
                content.removeAll(keepingCapacity: true)
                var start = 0
                while start < message.count {
                    let rest = message.span.extracting(start...)
                    let step = SMTPDotFraming.read(rest, into: &meter, appendingTo: &content)
                    start += step.consumed
                }
            }
        },
    ]
}

// MARK: - The worker's octets

extension Loop {
    private static let frames: [Self] = [
        Self.frames("a frame of 51 octets, of 80 in a read", Lines.declined),
        Self.frames("a frame of 813 octets, of 80 in a read", Lines.event),
    ]

    private static func frames(_ name: String, _ line: [UInt8]) -> Self {
        Loop(name, rounds: 2_000, units: 80) { rounds in
            let stream = [[UInt8]](repeating: line + [0x0A], count: 80).flatMap { $0 }
            var decoder = FrameDecoder(maximumFrameOctets: 1_048_576)
            for _ in 0..<rounds {
                stream.withUnsafeBytes { octets in
                    try? decoder.receive(octets) { line in
                        use(line)
                        return true
                    }
                }
            }
        }
    }

    private static let verdicts: [Self] = [
        Self.verdict("verdict decode, declined", Lines.declined, rounds: 200_000),
        Self.verdict("verdict decode, ok with a trace", Lines.traced, rounds: 100_000),
        Self.verdict("verdict decode, with everything", Lines.full, rounds: 20_000),
    ]

    private static func verdict(_ name: String, _ line: [UInt8], rounds: Int) -> Self {
        Loop(name, rounds: rounds) { rounds in
            for _ in 0..<rounds { use(try? WorkerMessage.decode(line, wantsTrace: false)) }
        }
    }

    private static let events: [Self] = [
        Loop("event encode, rcpt", rounds: 100_000) { rounds in
            var writer = JSONWriter()
            for _ in 0..<rounds {
                writer.removeAll()
                Lines.writeEvent(into: &writer)
            }
        },
        Loop("event check, rcpt", rounds: 50_000) { rounds in
            for _ in 0..<rounds { use(try? JSONObjectText(Lines.event)) }
        },
        Loop("event check, rcpt, and what a worker reads of each", rounds: 50_000) { rounds in
            for _ in 0..<rounds {
                guard let event = try? JSONObjectText(Lines.event) else { continue }
                use(event["type"]?.equals("event"))
                use(try? event.int("id"))
                use(try? event.string("hook"))
                use(try? event.string("key"))
                use(try? event.int("attempt"))
                use(try? event.int("deadline_ms"))
                use(event["args"]?.isObject)
                use(event["session"]?.isObject)
                use(event["notes"]?.isObject)
            }
        },
        Loop("text of 3,600 octets written", rounds: 20_000) { rounds in
            let text = Array(String(repeating: "lorem ipsum dolor ", count: 200).utf8)
            var writer = JSONWriter()
            for _ in 0..<rounds {
                writer.removeAll()
                writer.bytes(text)
            }
        },
    ]
}

/// Lines as they are on the wire.
private enum Lines {
    static let declined = Array(#"{"type":"verdict","id":81234,"verdict":"declined"}"#.utf8)

    static let traced = Array(
        (#"{"type":"verdict","id":812,"verdict":"ok","plugin":"rcpt_ok","#
            + #""trace":[{"plugin":"rcpt_ok","verdict":"ok","us":12}]}"#).utf8
    )

    static let full = Array(
        (#"{"type":"verdict","id":812,"verdict":"denysoft","plugin":"greylisting","#
            + #""reply":{"code":450,"status":"4.7.1","text":["Greylisted, try again later"]},"#
            + #""notes":{"transaction":{"greylisting":"first"}},"#
            + #""actions":[{"op":"reply.delay","ms":200}],"#
            + #""trace":[{"plugin":"rcpt_ok","verdict":"declined","us":12},"#
            + #"{"plugin":"greylisting","verdict":"denysoft","us":310}]}"#).utf8
    )

    static let event: [UInt8] = {
        var writer = JSONWriter()
        writeEvent(into: &writer)
        return writer.octets.dropLast()
    }()

    /// As the frontend writes one: its own members one by one, the rest from text that is kept.
    static func writeEvent(into writer: inout JSONWriter) {
        writer.beginObject()
        writer.key("type")
        writer.string("event")
        writer.key("id")
        writer.int(81_234)
        writer.key("key")
        writer.bytes(self.key)
        writer.key("attempt")
        writer.int(1)
        writer.key("deadline_ms")
        writer.int(20_000)
        writer.key("hook")
        writer.string(Hook.rcpt.rawValue)
        writer.key("session")
        writer.rawOpenObject(self.session)
        writer.key("counters")
        writer.beginObject()
        writer.key("commands")
        writer.int(4)
        writer.key("errors")
        writer.int(0)
        writer.key("unrecognized")
        writer.int(0)
        writer.key("transactions")
        writer.int(1)
        writer.key("rcpt_ok")
        writer.int(2)
        writer.key("rcpt_denied")
        writer.int(0)
        writer.endObject()
        writer.endObject()
        writer.key("transaction")
        writer.raw(self.transaction)
        writer.key("args")
        writer.raw(self.arguments)
        writer.key("notes")
        writer.raw(self.notes)
        writer.endObject()
        writer.newline()
    }

    private static let key = Array("01JD9X2T5QK7M3ZB.1.q4".utf8)

    private static let session = Array(
        (#"{"id":"01JD9X2T5QK7M3ZB","listener":"mx","started_ms":1732322669123,"#
            + #""client":{"ip":"203.0.113.9","port":51512,"name":null},"#
            + #""server":{"ip":"198.51.100.25","port":25},"proxy":null,"#
            + #""hello":{"verb":"EHLO","name":"mail.example.net"},"tls":null,"auth":null,"#
            + #""relay":false,"early_talker":false"#).utf8
    )

    private static let transaction = Array(
        (#"{"id":"01JD9X2T5QK7M3ZB.1","sender":{"address":"bob@example.net","local":"bob","#
            + #""domain":"example.net","params":[["SIZE","4312"]]},"recipient_count":2}"#).utf8
    )

    private static let arguments = Array(
        (#"{"recipient":{"id":3,"address":"joe@example.org","local":"joe","#
            + #""domain":"example.org","params":[]}}"#).utf8
    )

    private static let notes = Array(#"{"session":{},"transaction":{}}"#.utf8)
}
