import Glibc
import PolicyKit
import PolicyKitTesting
import SMTPCore
import System
import Testing

@testable import Frontend
@testable import PolicyCore

/// Odd headers, and what each part of the product makes of them: one grammar, so all see the same.
struct OddHeaderTests {
    struct Odd: Sendable, CustomTestStringConvertible {
        let message: String
        /// Name and value of each field.
        let fields: [(String, String)]
        /// The header as it is stored, if not as it came.
        var header: String?
        /// The body as it is stored.
        let body: String
        /// The body begins with an empty line that did not come.
        var isMended = false

        var testDescription: String { self.message.debugDescription }
    }

    static let odd: [Odd] = [
        Odd(message: "From: a\r\n\r\nb\r\n", fields: [("From", " a")], body: "\r\nb\r\n"),
        Odd(
            message: "From : a\r\nSubject\t: t\r\n\r\nb\r\n",
            fields: [("From", " a"), ("Subject", " t")],
            body: "\r\nb\r\n"
        ),
        Odd(
            message: "From a@b Mon Nov 23\r\nFrom: a\r\n\r\nb\r\n",
            fields: [("X-Mailbox-Line", " From a@b Mon Nov 23"), ("From", " a")],
            header: "X-Mailbox-Line: From a@b Mon Nov 23\r\nFrom: a\r\n",
            body: "\r\nb\r\n"
        ),
        Odd(
            message: "\u{FEFF}From: a\r\n\r\nb\r\n",
            fields: [],
            body: "\r\n\u{FEFF}From: a\r\n\r\nb\r\n",
            isMended: true
        ),
        Odd(
            message: "Fröm: a\r\nTo: b\r\n",
            fields: [],
            body: "\r\nFröm: a\r\nTo: b\r\n",
            isMended: true
        ),
        Odd(
            message: "A: 1\r\nFröm: a\r\n",
            fields: [("A", " 1")],
            body: "\r\nFröm: a\r\n",
            isMended: true
        ),
        Odd(
            message: "A: 1\r\nno colon\r\nFrom: x\r\n\r\nb\r\n",
            fields: [("A", " 1")],
            body: "\r\nno colon\r\nFrom: x\r\n\r\nb\r\n",
            isMended: true
        ),
        Odd(
            message: "A: 1\r\nX Y: 2\r\n",
            fields: [("A", " 1")],
            body: "\r\nX Y: 2\r\n",
            isMended: true
        ),
        Odd(message: "A: 1\r\n: 2\r\n", fields: [("A", " 1")], body: "\r\n: 2\r\n", isMended: true),
        Odd(
            message: "A: 1\r\nFrom x\r\n",
            fields: [("A", " 1")],
            body: "\r\nFrom x\r\n",
            isMended: true
        ),
        Odd(
            message: "A:\r\n \r\n\tx\r\nB:\r\n\r\n",
            fields: [("A", "\r\n \r\n\tx"), ("B", "")],
            body: "\r\n"
        ),
        Odd(
            message: " A: 1\r\nB: 2\r\n",
            fields: [],
            body: "\r\n A: 1\r\nB: 2\r\n",
            isMended: true
        ),
        Odd(message: "\tA: 1\r\n", fields: [], body: "\r\n\tA: 1\r\n", isMended: true),
        Odd(message: "A: 1\r\n", fields: [("A", " 1")], body: ""),
        Odd(message: "\r\nA: 1\r\n", fields: [], body: "\r\nA: 1\r\n"),
        Odd(message: "A: a.\r\n", fields: [("A", " a.")], body: ""),
        Odd(message: "", fields: [], body: ""),
    ]

    @Test(arguments: odd)
    func `every part of the product sees the same fields and the same border`(
        _ odd: Odd
    ) async throws {
        let bodyCount = odd.body.utf8.count - (odd.isMended ? 2 : 0)
        let header = odd.header.map { Array($0.utf8) } ?? odd.message.utf8.dropLast(bodyCount)

        // What arrives, however it is split.
        let message = try Self.received(odd.message)
        #expect(message.header == Array(header))
        #expect(message.body == Array(odd.body.utf8))

        // The list that policy sees, written out again.
        #expect(HeaderList(section: message.header).count == odd.fields.count)
        #expect(HeaderList(section: message.header).octets == message.header)

        // A file that takes a message's place.
        #expect(try Self.replaced(odd.message) == message.header)

        // What a plugin's author tests with.
        let session = try await TestSession([], plugins: "")
        try await session.mail(from: "a@example.net")
        try await session.message(odd.message)
        #expect(session.headers.map { $0.name.string } == odd.fields.map(\.0))
        #expect(session.headers.map { $0.value.string } == odd.fields.map(\.1))
    }

    /// Scans a message as it comes after DATA, whole and octet by octet, and mends its border.
    private static func received(_ text: String) throws -> (header: [UInt8], body: [UInt8]) {
        let wire = Array((text + ".\r\n").utf8)
        var results: [[[UInt8]]] = []
        for step in [wire.count, 1] {
            var meter = SMTPContentMeter(limits: SMTPLimits(), bareNewline: .reject)
            var (content, buffer, isEnded) = ([UInt8](), [UInt8](), false)
            for start in stride(from: 0, to: wire.count, by: step) {
                buffer += wire[start..<min(start + step, wire.count)]
                while !isEnded {
                    let step = SMTPDotFraming.read(
                        buffer.span,
                        into: &meter,
                        appendingTo: &content
                    )
                    buffer.removeFirst(step.consumed)
                    isEnded = step.progress == .ended
                    if step.progress == .needsOctets { break }
                }
            }
            let bodyOffset = HeaderBorder.close(&content, bodyOffset: meter.bodyOffset)
            results.append([Array(content[..<bodyOffset]), Array(content[bodyOffset...])])
        }
        #expect(results[0] == results[1])
        return (results[0][0], results[0][1])
    }

    private static func replaced(_ text: String) throws -> [UInt8] {
        var template = Array("/tmp/gatepost-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw SystemError("mkdtemp", "/tmp", errno) }
        let folder = String(cString: made)
        defer {
            unlink(folder + "/taken")
            rmdir(folder)
        }
        close(try SpoolFileCalls.append(Array(text.utf8), to: -1, path: folder + "/m"))
        return try ReplacementMessage.take(
            "m",
            folder: folder,
            owner: getuid(),
            limit: 1_000,
            headerLimits: (1_000, 100),
            destination: folder + "/taken"
        ).header
    }
}
