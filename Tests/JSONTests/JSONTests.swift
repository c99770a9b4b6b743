import Foundation
import JSON
import Octets
import Testing

/// What json-c or a careless reader lets pass and the protocol does not (protocol/README.md §1).
@Suite struct StrictReadingTests {
    static let refused: [(String, JSONError.Code)] = [
        (#"{"a":1,"a":2}"#, .frame_duplicate_key),
        (#"{"a":1,"\u0061":2}"#, .frame_duplicate_key),
        (#"{"x":{"a":1,"a":2}}"#, .frame_duplicate_key),
        (#"{"a\u0000b":1}"#, .frame_nul_key),
        (#"{"a":NaN}"#, .frame_not_json),
        (#"{"a":Infinity}"#, .frame_not_json),
        (#"{"a":-Infinity}"#, .frame_not_json),
        (#"{"a":1e999}"#, .frame_number),
        (#"{"a":9007199254740992}"#, .frame_number),
        (#"{"a":-9007199254740992}"#, .frame_number),
        (#"{"a":18446744073709551616}"#, .frame_number),
        (#"{"a":1.}"#, .frame_not_json),
        (#"{"a":.5}"#, .frame_not_json),
        (#"{"a":01}"#, .frame_not_json),
        (#"{"a":+1}"#, .frame_not_json),
        (#"{"a":0x1}"#, .frame_not_json),
        (#"{'a':1}"#, .frame_not_json),
        (#"{"a":'b'}"#, .frame_not_json),
        (#"{a:1}"#, .frame_not_json),
        (#"{"a":1,}"#, .frame_not_json),
        (#"{"a":[1,]}"#, .frame_not_json),
        (#"{,}"#, .frame_not_json),
        (#"{"a":1}x"#, .frame_not_json),
        (#"{"a":1}{}"#, .frame_not_json),
        ("{\"a\":1}\0{}", .frame_not_json),
        (#"{"a":1/*x*/}"#, .frame_not_json),
        (#"{"a":True}"#, .frame_not_json),
        (#"{"a":nul}"#, .frame_not_json),
        (#"{"a":"\x41"}"#, .frame_not_json),
        (#"{"a":"\u12g4"}"#, .frame_not_json),
        (#"{"a":"\ud800"}"#, .frame_surrogate),
        (#"{"a":"\udc00\ud800"}"#, .frame_surrogate),
        (#"{"a":"\ud800\u0041"}"#, .frame_surrogate),
        ("{\"a\":\"\u{1}\"}", .frame_control),
        ("{\"a\":\"\t\"}", .frame_control),
        ("{\"a\":\"\n\"}", .frame_control),
        ("\u{FEFF}{}", .frame_not_json),
        ("", .frame_not_json),
        (" ", .frame_not_json),
        ("5", .frame_not_object),
        ("null", .frame_not_object),
        ("[]", .frame_not_object),
        (#""x""#, .frame_not_object),
        (String(repeating: "[", count: 100_000), .frame_too_deep),
    ]

    @Test(arguments: refused)
    func `what is no I-JSON is refused, and named`(text: String, code: JSONError.Code) {
        #expect(throws: JSONError(code)) { _ = try JSONObjectText(Array(text.utf8)) }
    }

    @Test(
        arguments: [
            [0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xC3], [0x80],
            [0xE2, 0x82], [0xF4, 0x90, 0x80, 0x80],
        ] as [[UInt8]]
    )
    func `octets that are no UTF-8 are refused`(octets: [UInt8]) {
        let line = Array(#"{"a":""#.utf8) + octets + Array(#""}"#.utf8)
        #expect(throws: JSONError(.frame_not_utf8)) { _ = try JSONObjectText(line) }
    }

    @Test func `a text that is cut anywhere is refused`() throws {
        let line = Array(#"{"a":[1,-2.5e3,"x\u00e9\ud83d\ude00",{"b":null}],"c":true}"#.utf8)
        _ = try JSONObjectText(line)
        for count in 0..<line.count {
            #expect(throws: JSONError.self) { _ = try JSONObjectText(Array(line[..<count])) }
        }
    }

    @Test func `depth is 32, the object included`() throws {
        func nested(_ depth: Int) -> [UInt8] {
            let open = String(repeating: "[", count: depth - 1)
            let close = String(repeating: "]", count: depth - 1)
            return Array("{\"a\":\(open)\(close)}".utf8)
        }
        _ = try JSONObjectText(nested(32))
        #expect(throws: JSONError(.frame_too_deep)) { _ = try JSONObjectText(nested(33)) }
        _ = try JSONValue(parsing: nested(32))
        #expect(throws: JSONError(.frame_too_deep)) { _ = try JSONValue(parsing: nested(33)) }
    }

    @Test(arguments: [9_007_199_254_740_991, -9_007_199_254_740_991, 0, -1] as [Int64])
    func `an integer up to 2^53 - 1 is taken as it is`(value: Int64) throws {
        let text = try JSONObjectText(Array(#"{"a":\#(value)}"#.utf8))
        #expect(try text.int("a") == value)
    }

    @Test(arguments: [2, 16, 17, 32, 33, 200])
    func `a key that comes twice is seen among any number of keys`(count: Int) throws {
        func object(_ keys: [String]) -> [UInt8] {
            Array("{\(keys.map { #""\#($0)":1"# }.joined(separator: ","))}".utf8)
        }
        let keys = (0..<count).map { "key\($0)" }
        _ = try JSONObjectText(object(keys))
        for place in [0, count / 2, count - 1] {
            #expect(throws: JSONError(.frame_duplicate_key)) {
                _ = try JSONObjectText(object(keys + [keys[place]]))
            }
        }
        #expect(throws: JSONError(.frame_duplicate_key)) {
            _ = try JSONObjectText(object(keys + [#"\u006bey0"#]))
        }
    }

    @Test func `keys that differ only in their composition are refused as values`() throws {
        let line = Array("{\"n\":{\"\u{E9}\":1,\"e\u{301}\":2}}".utf8)
        _ = try JSONObjectText(line)
        #expect(throws: JSONError(.frame_duplicate_key)) { _ = try JSONValue(parsing: line) }
    }

    @Test func `getters never turn one type into another`() throws {
        let text = try JSONObjectText(Array(#"{"s":"42","d":1.0,"b":true,"n":null,"i":-7}"#.utf8))
        #expect(throws: JSONError(.wrong_type)) { try text.int("s") }
        #expect(throws: JSONError(.wrong_type)) { try text.int("d") }
        #expect(throws: JSONError(.wrong_type)) { try text.int("b") }
        #expect(throws: JSONError(.wrong_type)) { try text.string("i") }
        #expect(throws: JSONError(.wrong_type)) { try text.bool("i") }
        #expect(try text.int("i") == -7)
        #expect(try text.bool("b") == true)
        #expect(try text.int("n") == nil)
        #expect(text.contains("n"))
        #expect(!text.contains("missing"))
    }
}

/// Octets go through as they are (protocol/README.md §1, Bytes).
@Suite struct BytesTests {
    private func roundTrip(_ octets: [UInt8]) throws -> [UInt8]? {
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("a")
        writer.bytes(octets)
        writer.endObject()
        switch try JSONValue(parsing: writer.octets)["a"] {
        case .string(let text)?: return Array(text.utf8)
        case .object(let members)?:
            guard case .string(let text)? = members["b64"] else { return nil }
            return Base64.decode(text)
        default: return nil
        }
    }

    @Test func `every octet, alone and between others, is preserved`() throws {
        for octet in UInt8.min...UInt8.max {
            #expect(try self.roundTrip([octet]) == [octet])
            #expect(try self.roundTrip([0x61, octet, 0x62]) == [0x61, octet, 0x62])
        }
    }

    @Test func `random octets are preserved`() throws {
        var generator = SystemRandomNumberGenerator()
        for count in 0..<400 {
            let octets = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
            #expect(try self.roundTrip(octets) == octets)
        }
    }

    @Test(arguments: ["YQ", "YR==", "Y===", "YQ=", "Y Q=", "YQ==YQ==", "_w==", "YQ==\n"])
    func `base64 that is not canonical is refused`(text: String) {
        #expect(Base64.decode(text) == nil)
    }
}

/// RFC 7396.
@Suite struct MergePatchTests {
    @Test(arguments: [
        (#"{"a":"b"}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
        (#"{"a":"b"}"#, #"{"b":"c"}"#, #"{"a":"b","b":"c"}"#),
        (#"{"a":"b"}"#, #"{"a":null}"#, #"{}"#),
        (#"{"a":["b"]}"#, #"{"a":"c"}"#, #"{"a":"c"}"#),
        (#"{"a":"c"}"#, #"{"a":["b"]}"#, #"{"a":["b"]}"#),
        (#"{"a":{"b":"c"}}"#, #"{"a":{"b":"d","c":null}}"#, #"{"a":{"b":"d"}}"#),
        (#"["a","b"]"#, #"["c","d"]"#, #"["c","d"]"#),
        (#"{"e":null}"#, #"{"a":1}"#, #"{"a":1,"e":null}"#),
        (#"{}"#, #"{"a":{"bb":{"ccc":null}}}"#, #"{"a":{"bb":{}}}"#),
    ])
    func `a patch does what the appendix of the RFC shows`(
        before: String,
        patch: String,
        after: String
    ) throws {
        let value = try JSONValue(parsing: Array(before.utf8))
        let merged = value.merging(try JSONValue(parsing: Array(patch.utf8)))
        #expect(merged == (try JSONValue(parsing: Array(after.utf8))))
    }
}

/// Memory.
@Suite struct LeakTests {
    /// Resident pages of this process.
    private var residentPages: Int {
        get throws {
            let statm = try #require(
                try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
            )
            return try #require(Int(statm.split(separator: " ")[1]))
        }
    }

    @Test func `a million rounds of parsing and printing leave nothing behind`() throws {
        let texts = [
            #"{"a":{"b":[1,"x"]}}"#, #"{"a":{}}"#, #"{"a":"\u00e9"}"#, #"{"a":[null]}"#,
            #"{"a":[1}"#,
        ].map { Array($0.utf8) }
        var writer = JSONWriter()
        func round(_ index: Int) {
            guard let value = try? JSONObjectText(texts[index % texts.count]).value("a") else {
                return
            }
            writer.removeAll()
            value.encode(into: &writer)
        }
        for index in 0..<20_000 { round(index) }
        // Other tests run in this process meanwhile: they may take memory in one tenth or in many, but
        // the smallest leak takes 32 octets in each round, and so 156 pages at least in every tenth.
        var growth: [Int] = []
        for _ in 0..<10 {
            let before = try self.residentPages
            for index in 0..<100_000 { round(index) }
            growth.append(try self.residentPages - before)
        }
        #expect(try #require(growth.min()) < 100, "pages: \(growth)")
    }
}

/// The loops that look at eight octets at a time, on every length, place and alignment.
@Suite struct OctetSearchTests {
    @Test func `the first line feed is found wherever it stands`() {
        for count in 0..<40 {
            for start in 0..<min(9, count + 1) {
                for place in 0...count {
                    var octets = [UInt8](repeating: 0x0B, count: count)
                    if place < count { octets[place] = 0x0A }
                    let expected = place < count && place >= start ? place : nil
                    octets.withUnsafeBytes { text in
                        #expect(OctetSearch.firstLineFeed(in: text, from: start) == expected)
                    }
                }
            }
        }
    }

    @Test(arguments: 0...255 as ClosedRange<UInt8>)
    func `an octet is escaped or not, wherever it stands in a string`(octet: UInt8) throws {
        guard octet < 0x80 else { return }
        for count in 0..<20 {
            for place in 0...count {
                var octets = [UInt8](repeating: 0x7E, count: count)
                octets.insert(octet, at: place)
                var writer = JSONWriter()
                writer.beginObject()
                writer.key("a")
                writer.bytes(octets)
                writer.endObject()
                let value = try JSONValue(parsing: writer.octets)["a"]
                let text = String(decoding: octets, as: UTF8.self)
                if octet == 0 {
                    #expect(value == .object(["b64": .string(Base64.encode(octets))]))
                } else {
                    #expect(value == .string(text))
                }
            }
        }
    }

    @Test func `one octet that is no UTF-8 is seen wherever it stands`() {
        for count in 1..<70 {
            for place in 0..<count {
                var octets = [UInt8](repeating: 0x61, count: count)
                octets[place] = 0xFF
                let line = Array(#"{"a":""#.utf8) + octets + Array(#""}"#.utf8)
                #expect(throws: JSONError(.frame_not_utf8)) { _ = try JSONObjectText(line) }
            }
        }
    }
}
