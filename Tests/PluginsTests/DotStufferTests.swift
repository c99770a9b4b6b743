import Testing

@testable import StandardPlugins

@Suite struct DotStufferTests {
    @Test func `dots are doubled whatever the split, and the last line gets its end`() throws {
        let text = Array(".a\r\n..b\r\nc.\r\n.\r\n.d".utf8)
        let expected = Array("..a\r\n...b\r\nc.\r\n..\r\n..d\r\n".utf8)
        for cut in 0...text.count {
            #expect(try self.stuffed(text, cut: cut) == expected, "cut at \(cut)")
        }
        var empty = DotStuffer()
        var output: [UInt8] = []
        try empty.finish(&output)
        #expect(output.isEmpty)
    }

    /// What goes out for `text` that comes in two pieces.
    private func stuffed(_ text: [UInt8], cut: Int) throws -> [UInt8] {
        var stuffer = DotStuffer()
        var output: [UInt8] = []
        let (first, second) = (Array(text[..<cut]), Array(text[cut...]))
        try stuffer.append(first.span, to: &output)
        try stuffer.append(second.span, to: &output)
        try stuffer.finish(&output)
        return output
    }

    @Test(arguments: [
        "\0.\r\n", "a\r\n\0.\0\r\n", "\0\0.\0\0\r\n", "a\r\n\0.",
    ])
    func `a line that is a dot without its NULs is never sent`(text: String) {
        self.expectRefusal(text)
    }

    @Test(arguments: [
        (".\0\r\n", "..\0\r\n"), ("\0a.\r\n", "\0a.\r\n"), ("\0..\r\n", "\0..\r\n"),
        ("\0\r\n.\r\n", "\0\r\n..\r\n"), ("a\0.\r\n", "a\0.\r\n"), ("\0.a\r\n", "\0.a\r\n"),
    ])
    func `other lines with NUL go out as they are`(text: String, expected: String) throws {
        var stuffer = DotStuffer()
        var output: [UInt8] = []
        try stuffer.append(Array(text.utf8).span, to: &output)
        try stuffer.finish(&output)
        #expect(output == Array(expected.utf8))
    }

    @Test(arguments: [
        "\n", "\r", "a\nb\r\n", "a\rb\r\n", "a\r\r\n", "a\r\n\n", "\r\n.\r", "a\r.\r\n",
    ])
    func `a CR or LF that is not part of a CRLF is never sent`(text: String) {
        self.expectRefusal(text)
    }

    /// Wherever it is cut.
    private func expectRefusal(_ text: String) {
        let text = Array(text.utf8)
        for cut in 0...text.count {
            #expect(throws: SMTPForwardError.self, "cut at \(cut)") {
                try self.stuffed(text, cut: cut)
            }
        }
    }
}
