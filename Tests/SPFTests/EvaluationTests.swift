import Addresses
import Testing

@testable import SPF

/// What the suite of RFC 7208 leaves open, and our limits.
struct EvaluationTests {
    private static func zone(_ policy: String, _ more: [(String, ZoneData.Record)] = []) -> ZoneData
    {
        ZoneData([("example.org", .txt("v=spf1 \(policy)"))] + more)
    }

    @Test func `the directive that decided is named, of an include the outer one`() {
        let zone = Self.zone(
            "include:b.example.org -all",
            [("b.example.org", .txt("v=spf1 ip4:192.0.2.0/24"))]
        )
        #expect(zone.result()?.mechanism == "include:b.example.org")
        #expect(zone.result("198.51.100.1")?.mechanism == "all")
        #expect(Self.zone("ip4:192.0.2.0/24").result()?.mechanism == "ip4:192.0.2.0/24")
        #expect(Self.zone("ip4:198.51.100.1").result()?.mechanism == nil)
    }

    @Test func `of a directive that is long the start is named`() {
        let long = "exists:\(String(repeating: "x", count: 2_000)).%{d}"
        let found = Self.zone("?\(long) +all").result()
        #expect(found?.mechanism == "all")
        let include = "exists:%{i}.\(String(repeating: "a.", count: 20_000))example.net"
        let begin = ContinuousClock.now
        let zone = Self.zone(
            include,
            [("\(String(repeating: "a.", count: 121))example.net", .a("192.0.2.1"))]
        )
        #expect(zone.result()?.mechanism?.utf8.count == 255)
        #expect(ContinuousClock.now - begin < .seconds(5))
    }

    @Test func `names that do not exist are counted by terms`() {
        let voids = (1...2).map { "a:none\($0).example.org" }.joined(separator: " ")
        #expect(Self.zone("\(voids) ip4:192.0.2.1").result()?.result == .pass)
        for third in ["a:n.example.org", "mx:n.example.org", "exists:n.example.org", "ptr"] {
            let found = Self.zone("\(voids) \(third) ip4:192.0.2.1").result()
            #expect(found?.result == .permerror, "\(third)")
        }
        // Its MX exists, so this term is not in vain.
        let zone = Self.zone(
            "\(voids) mx ip4:192.0.2.1",
            [("example.org", .mx("none.example.org"))]
        )
        #expect(zone.result()?.result == .pass)
    }

    @Test func `the macro p counts as a term, and the client is asked for its names once`() throws {
        let names: [(String, ZoneData.Record)] = [
            ("1.2.0.192.in-addr.arpa", .ptr("mail.example.org")),
            ("mail.example.org", .a("192.0.2.1")),
        ]
        let nine = (1...9).map { _ in "a:mail.example.org/32" }.joined(separator: " ")
        let other = ("198.51.100.9", "9.100.51.198.in-addr.arpa")
        let more = names + [(other.1, ZoneData.Record.ptr("mail.example.org"))]
        #expect(
            Self.zone("\(nine) exists:%{p}.x.y -all", more).result(other.0)?.result == .permerror
        )
        let eight = (1...8).map { _ in "a:mail.example.org/32" }.joined(separator: " ")
        #expect(
            Self.zone("\(eight) -exists:%{p}.x.y ?all", more).result(other.0)?.result == .neutral
        )
        let zone = Self.zone("exists:%{p}.x.y exists:%{p}.z.y ptr:example.net -all", names)
        let identity = SPFIdentity(
            client: IPAddress(ipv4: 0xC000_0201),
            hello: [],
            sender: Array("a@example.org".utf8)
        )
        let questions = try #require(zone.evaluate(identity)).questions
        #expect(questions.count { $0.kind == .ptr } == 1)
    }

    @Test func `a term is in vain once, and p prefers the domain itself`() {
        let twice = "exists:%{p}.none.example exists:%{p}.none.example ip4:192.0.2.1"
        #expect(Self.zone(twice).result()?.result == .pass)
        for (names, name) in [
            (["a.example", "b.example.org", "example.org"], "example.org"),
            (["a.example", "b.example.org"], "b.example.org"),
            (["a.example", "c.example"], "a.example"),
            ([], "unknown"),
        ] {
            let records = names.flatMap { name -> [(String, ZoneData.Record)] in
                [("1.2.0.192.in-addr.arpa", .ptr(name)), (name, .a("192.0.2.1"))]
            }
            let why = ("why.example.org", ZoneData.Record.txt("%{p}"))
            let found = Self.zone("-all exp=why.example.org", records + [why]).result()
            #expect(found?.explanation == name)
        }
    }

    @Test
    func `U-labels are asked for as A-labels, and a local part that is not ASCII matches nothing`()
    {
        let zone = ZoneData([
            ("xn--bcher-kva.example", .txt("v=spf1 exists:%{l}.%{o}.x.example ip4:192.0.2.1 -all")),
            ("bob.xn--bcher-kva.example.x.example", .a("127.0.0.2")),
        ])
        #expect(zone.result("198.51.100.1", sender: "bob@BÜCHER.example")?.result == .pass)
        #expect(zone.result("198.51.100.1", sender: "bøb@bücher.example")?.result == .fail)
    }

    @Test func `an explanation is printable, and never longer than 1000 octets`() {
        let text = String(repeating: "%{s}", count: 500)
        let zone = Self.zone("-all exp=why.example.org", [("why.example.org", .txt(text))])
        let found = zone.result(sender: "b\u{7}ø@example.org")?.explanation
        #expect(found?.utf8.count == 1_000)
        #expect(found?.hasPrefix("b???@example.org") == true)
        let time = Self.zone(
            "-all exp=why.example.org",
            [("why.example.org", .txt("%{t} %{r} %{c}"))]
        )
        #expect(time.result()?.explanation == "1700000000 mx.example.com 192.0.2.1")
    }

    @Test
    func `when the time is over nothing is known, but for a result that lacks its explanation`() {
        let identity = SPFIdentity(
            client: IPAddress(ipv4: 0xC000_0201),
            hello: [],
            sender: Array("a@example.org".utf8)
        )
        var evaluation = SPFEvaluation(identity)
        guard case .ask = evaluation.start() else {
            Issue.record("nothing asked")
            return
        }
        #expect(evaluation.timeIsOver().result == .temperror)
        let step = evaluation.answered([.texts([Array("v=spf1 -all exp=e.example.org".utf8)])])
        #expect(step == .ask([SPFQuestion(name: Array("e.example.org".utf8), kind: .txt)]))
        #expect(evaluation.timeIsOver().result == .fail)
    }

    @Test func `hosts of one answer are asked for together`() {
        let identity = SPFIdentity(
            client: IPAddress(ipv4: 0xC000_0201),
            hello: [],
            sender: Array("a@example.org".utf8)
        )
        var evaluation = SPFEvaluation(identity)
        _ = evaluation.start()
        _ = evaluation.answered([.texts([Array("v=spf1 mx -all".utf8)])])
        let names = (1...10).map { Array("mx\($0).example.org".utf8) }
        #expect(
            evaluation.answered([.names(names)])
                == .ask(names.map { SPFQuestion(name: $0, kind: .a) })
        )
        // An answer that is missing is a failure.
        guard case .done(let found) = evaluation.answered([.nothing]) else {
            Issue.record("it goes on")
            return
        }
        #expect(found.result == .temperror)
    }

    @Test(arguments: ["", "a", "[192.0.2.1]", "a..b", "bad name"])
    func `what is no domain name has no policy`(hello: String) {
        #expect(ZoneData().result(sender: "", hello: hello)?.result == SPFResult.none)
    }

    @Test func `the null sender is the client's name`() {
        let zone = ZoneData([
            ("mail.example.org", .txt("v=spf1 exists:%{l}.%{o}.x.example -all")),
            ("postmaster.mail.example.org.x.example", .a("127.0.0.1")),
        ])
        let found = zone.result(sender: "", hello: "MAIL.example.org")
        #expect(found?.result == .pass && found?.domain == "mail.example.org")
    }
}
