import JSON
import Testing

@testable import PolicyCore

/// RFC 5322 §2.2: fields, folding, and where the header section ends.
struct HeaderListTests {
    private func written(_ list: HeaderList) -> String {
        String(decoding: list.octets, as: UTF8.self)
    }

    private func list(_ section: String) -> HeaderList { HeaderList(section: Array(section.utf8)) }

    /// Sections, and how many fields they have.
    @Test(arguments: [
        ("", 0),
        ("Subject: x\r\n", 1),
        ("A:1\r\nB:\r\n folded\r\n\tagain\r\n", 2),
        ("Subject : spaced name\r\nTo \t :\r\n \r\n", 2),
    ])
    func `untouched fields are written as they came`(section: String, fields: Int) {
        let list = self.list(section)
        #expect(list.count == fields)
        #expect(self.written(list) == section)
    }

    @Test func `a name has no white space, and a field that is set loses it`() {
        var list = self.list("A : 1\r\nB\t: 2\r\n")
        var writer = JSONWriter()
        list.encode(into: &writer)
        let json = String(decoding: writer.octets, as: UTF8.self)
        #expect(
            json == #"[{"id":1,"name":"A","space":" ","value":" 1"},"#
                + #"{"id":2,"name":"B","space":"\t","value":" 2"}]"#
        )
        let isSet = list.set(id: 1, value: Array(" one".utf8))
        #expect(isSet && self.written(list) == "A: one\r\nB\t: 2\r\n")
    }

    @Test func `what a header takes in an event lies between its bounds`() {
        let sections = [
            "A:1\r\n", "A : \"\\\r\n\tx\r\n", "A: \u{1}\u{2}\u{7F}\r\n", "A: \u{0}é\r\n",
            "A:é\r\nB:\r\n",
        ]
        for section in sections.map({ String(repeating: $0, count: 40) }) {
            for limit in [0, 1_000_000] {
                let list = self.list(section)
                var writer = JSONWriter()
                list.encode(into: &writer)
                #expect(list.encodedOctets(upTo: limit) >= writer.octets.count)
                #expect(list.leastEncodedOctets <= writer.octets.count)
            }
        }
    }

    @Test func `ids never shift`() {
        var list = self.list("A: 1\r\nB: 2\r\nC: 3\r\n")
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
        var list = self.list("X-Spam: 1\r\nx-spam : 2\r\nX-Spam-Level: 3\r\n")
        list.deleteAll(name: Array("X-SPAM".utf8))
        #expect(self.written(list) == "X-Spam-Level: 3\r\n")
    }

    /// A kind of change; one verdict makes at most 256 (protocol/verdicts.md).
    enum Change: CaseIterable {
        case set, delete, addAtTop, addAtTopAndDelete, deleteByName
    }

    @Test(arguments: Change.allCases)
    func `a verdict's changes cost no more than the fields that there are`(change: Change) {
        let growth = WorkGrowth.ofFourTimes(1_000) { fields in
            let section = Array((1...fields).map { "f\($0):b\r\n" }.joined().utf8)
            return {
                var list = HeaderList(section: section)
                for index in 0..<256 {
                    let id = fields - 2 * index
                    switch change {
                    case .set: _ = list.set(id: id, value: [0x20])
                    case .delete: _ = list.delete(id: id)
                    case .addAtTop: list.add(name: [0x61], value: [0x20], atTop: true)
                    case .addAtTopAndDelete:
                        _ = list.delete(id: list.add(name: [0x61], value: [0x20], atTop: true))
                    case .deleteByName: list.deleteAll(name: Array("F\(id)".utf8))
                    }
                }
                var writer = JSONWriter()
                list.encode(into: &writer)
                let more = [.set: 0, .addAtTop: 256, .addAtTopAndDelete: 0][change] ?? -256
                #expect(list.count == fields + more)
            }
        }
        // Less than three times for each doubling.
        #expect(growth < 9)
    }

    @Test func `fields that are added at the top stand in reverse order`() {
        var list = self.list("C: 3\r\n")
        list.add(name: Array("B".utf8), value: Array(" 2".utf8), atTop: true)
        list.add(name: Array("D".utf8), value: Array(" 4".utf8), atTop: false)
        let first = list.add(name: Array("A".utf8), value: Array(" 1".utf8), atTop: true)
        #expect(self.written(list) == "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n")
        let isDeleted = list.delete(id: first)
        list.deleteAll(name: Array("d".utf8))
        list.add(name: Array("d".utf8), value: Array(" 5".utf8), atTop: true)
        #expect(isDeleted && self.written(list) == "d: 5\r\nB: 2\r\nC: 3\r\n")
        list.deleteAll(name: Array("D".utf8))
        #expect(list.count == 2 && self.written(list) == "B: 2\r\nC: 3\r\n")
    }
}
