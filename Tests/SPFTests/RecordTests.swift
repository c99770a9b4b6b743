import Addresses
import Testing

@testable import SPF

struct RecordTests {
    private static func isReadable(_ terms: String) -> Bool {
        (try? SPFRecord(Array("v=spf1 \(terms)".utf8))) != nil
    }

    @Test(arguments: [
        ("v=spf1", true), ("V=SPF1 -all", true), ("v=spf1\t-all", false), ("v=spf10", false),
        ("v=spf1-all", false), ("v=spf", false), ("", false), (" v=spf1", false),
    ])
    func `a record begins with its version`(text: String, isRecord: Bool) {
        #expect(SPFRecord.isRecord(Array(text.utf8)) == isRecord)
    }

    @Test(arguments: [
        "", "all", "-ALL", "?all  ~all ", "include:a.b", "a", "a:a.b", "a/24", "a//64", "a/24//64",
        "a:a.b/24//64", "a:a/b.c/0", "a:x.y//0", "mx", "mx:a.b/32", "ptr", "ptr:a.b",
        "exists:%{i}.a.b",
        "ip4:192.0.2.1", "ip4:192.0.2.0/24", "ip6:2001:db8::1/64", "ip6:::/0", "redirect=a.b",
        "exp=a.b", "redirect=%{d}", "exists:%{s}", "exists:a%%", "exists:%_",
        "exists:%{L1R.-+,/_=}.c",
        "unknown=", "all=", "u.n-k_n=%{d}", "a:a.b.", "a:a.b-c", "a:a.1b", "EXISTS:%{D}.a",
    ])
    func `terms of the grammar are read`(terms: String) {
        #expect(Self.isReadable(terms))
    }

    @Test(arguments: [
        "al", "all:", "all/0", "+-all", "include", "include:", "include:a",
        "include:a.b/24",
        "a:", "a/", "a//", "a/033", "a/33", "a//129", "a/24/64", "a///64", "a:a.b/", "mx:.",
        "ptr/24",
        "ptr:", "exists", "exists:", "exists:a", "ip4", "ip4:", "ip4:192.0.2", "ip4:192.0.2.1/33",
        "ip4:192.0.2.1/", "ip4:192.0.2.01", "ip4:2001:db8::1", "ip6:192.0.2.1", "ip6:::1/129",
        "ip6::1",
        "redirect=", "redirect=a", "redirect=a.b redirect=a.b", "exp=", "exp=a.b exp=c.d",
        "+redirect=a.b", "1x=y", "=x", "exists:%{x}.a", "exists:%{}.a", "exists:%{d0}.a",
        "exists:%{d",
        "exists:%{dr1}.a", "exists:%{d;}.a", "exists:%d.a", "exists:%{c}.a", "exists:%{r}.a",
        "exists:%{t}.a", "x=%", "x=%{q}", "a:a.-b", "a:a.b-", "a:a.1", "a:a..", "a:a.b\u{7F}",
        "a:a.é",
        "-", "?", "a:\u{0}.b",
    ])
    func `other terms make the record unusable`(terms: String) {
        #expect(!Self.isReadable(terms))
        #expect(!Self.isReadable("ip4:192.0.2.1 \(terms) -all"))
    }

    @Test func `a directive keeps its words`() throws {
        let record = try SPFRecord(Array("v=spf1 ~A:a.b/24 ip6:2001:DB8::/32".utf8))
        #expect(record.directives.map(\.text) == ["A:a.b/24", "ip6:2001:DB8::/32"])
        #expect(record.directives.map(\.qualifier) == [.softfail, .pass])
        guard case .a(_, let lengths) = record.directives[0].mechanism else {
            Issue.record("no a")
            return
        }
        #expect(lengths == SPFPrefixLengths(ipv4: 24, ipv6: 128))
    }

    @Test func `a record that is cut anywhere is read or refused`() {
        let text = Array(
            "v=spf1 -a:%{l1r-}.%{d2}/24//64 mx ptr:a.b +ip4:192.0.2.0/24 exp=%{ir}.a.b redirect=c.d"
                .utf8
        )
        for end in 6...text.count {
            for octet: UInt8 in [0, 0x20, 0x25, 0x2F, 0x7B, 0x80, 0xFF] {
                _ = try? SPFRecord(Array(text[..<end]) + [octet] + text[end...])
            }
            _ = try? SPFRecord(Array(text[..<end]))
        }
    }

    @Test func `damaged records never make an evaluation endless`() throws {
        var random = Numbers(seed: 4_711)
        let text = Array(
            "v=spf1 a:%{h}.%{d} mx:%{p} include:b.example.org ptr exists:%{s}.x.y redirect=%{o} exp=e.x.y"
                .utf8
        )
        for _ in 0..<3_000 {
            var damaged = text
            for _ in 0..<random.next(4) {
                let index = 7 + Int(random.next(UInt64(damaged.count - 7)))
                switch random.next(3) {
                case 0: damaged[index] = UInt8(truncatingIfNeeded: random.next(256))
                case 1: damaged.remove(at: index)
                default: damaged.insert(UInt8(truncatingIfNeeded: random.next(128)), at: index)
                }
            }
            let zone = ZoneData([
                ("example.org", .text(damaged)), ("b.example.org", .text(damaged)),
                ("1.2.0.192.in-addr.arpa", .ptr("mail.example.org")),
                ("mail.example.org", .a("192.0.2.1")),
            ])
            #expect(zone.result() != nil)
        }
    }
}

/// Numbers that are the same in each run.
struct Numbers {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    /// A number below `limit`.
    mutating func next(_ limit: UInt64) -> UInt64 {
        self.state = self.state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (self.state >> 33) % limit
    }
}
