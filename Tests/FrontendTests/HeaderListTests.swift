import Testing

@testable import Frontend

/// RFC 5322 §2.2: fields, folding, and where the header section ends.
struct HeaderListTests {
    private func parse(_ text: String) -> (HeaderList, Int) {
        let octets = Array(text.utf8)
        var end = 0
        let list = HeaderList(parsing: octets.span, endOffset: &end)
        return (list, end)
    }

    private func written(_ list: HeaderList) -> String {
        list.fields.map {
            String(decoding: $0.name + [0x3A] + $0.value + [0x0D, 0x0A], as: UTF8.self)
        }
        .joined()
    }

    /// Header, and how many octets of the text belong to its section.
    @Test(arguments: [
        ("", 0, 0),
        ("Subject: x\r\n", 1, 12),
        ("Subject: x\r\n\r\nbody\r\n", 1, 12),
        ("A:1\r\nB:\r\n folded\r\n\tagain\r\n\r\n", 2, 26),
        ("Subject : spaced name\r\n\r\n", 1, 23),
        ("A: 1\r\nno colon here\r\nB: 2\r\n", 1, 6),
        ("A: 1\r\nFrom someone\r\nB: 2\r\n", 1, 6),
        (" starts folded\r\n", 0, 0),
        (":no name\r\n", 0, 0),
        ("\r\nbody: not a field\r\n", 0, 0),
        ("A: a\rb\nc\r\n\r\n", 1, 10),
    ])
    func `fields are read up to the end of the section`(text: String, fields: Int, end: Int) {
        let (list, endOffset) = self.parse(text)
        #expect(list.fields.count == fields)
        #expect(endOffset == end)
        #expect(self.written(list) + text.utf8.dropFirst(end).string == text)
    }

    @Test func `ids never shift`() {
        var (list, _) = self.parse("A: 1\r\nB: 2\r\nC: 3\r\n\r\n")
        let results = [
            list.delete(id: 1), list.delete(id: 1), list.set(id: 3, value: Array(" three".utf8)),
        ]
        #expect(results == [true, false, true])
        let added = list.add(name: Array("D".utf8), value: Array(" 4".utf8), atTop: true)
        #expect(added == 4)
        #expect(self.written(list) == "D: 4\r\nB: 2\r\nC: three\r\n")
        let unknown = list.set(id: 99, value: [])
        #expect(!unknown)
    }

    @Test func `delete_all matches the whole name in any letter case and no longer one`() {
        var (list, _) = self.parse("X-Spam: 1\r\nx-spam : 2\r\nX-Spam-Level: 3\r\n\r\n")
        list.deleteAll(name: Array("X-SPAM".utf8))
        #expect(self.written(list) == "X-Spam-Level: 3\r\n")
    }
}

extension Sequence<UInt8> {
    fileprivate var string: String { String(decoding: Array(self), as: UTF8.self) }
}
