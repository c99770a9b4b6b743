import Crypto
import DomainNames
import Octets
import SignatureKeys
import Testing

@testable import DKIM

@Suite struct TagListTests {
    @Test func `a list is read as RFC 6376 §3.2 writes it`() throws {
        let list = try #require(TagList(octets(" a=b ; c_1 =\r\n\td e\t;E= ; \r\n ")))
        #expect(list["a"] == octets("b") && list["c_1"] == octets("d e") && list["E"] == [])
        #expect(list["e"] == nil && list.firstName == "a")
        #expect(list.emptied("c_1") == octets(" a=b ; c_1 =;E= ; \r\n "))
        #expect(TagList(octets("b= x \r\n y"))?.emptied("b") == octets("b="))
        #expect(TagList(octets("h= From :to: "))?.list("h") == ["from", "to", ""].map(octets))
        #expect(TagList(octets("b=A Q\r\n =\t="))?.base64("b") == [1])
        #expect(TagList(octets("d=bücher.example"))?.text("d") == "bücher.example")
    }

    @Test(arguments: [
        "", " ", ";", "a", "=b", "a=b;;", "a=b;c", "a=b;a=c", "1=b", "a b=c", "a=\u{0}", "a=\u{7F}",
        "a-b=c", "ä=b",
    ])
    func `what is no list is refused`(text: String) {
        #expect(TagList(octets(text)) == nil)
    }

    @Test func `a list has an end`() {
        let many = (0...TagList.maximumTags).map { "a\($0)=b" }.joined(separator: ";")
        #expect(TagList(octets(many)) == nil)
        #expect(TagList(octets("a=" + String(repeating: "b", count: 65_536))) == nil)
    }

    @Test func `no octets end the process`() {
        var random = SystemRandomNumberGenerator()
        let list = octets("v=1; a=rsa-sha256; d=example.com; h=from:to; bh=AQ==; b=AQ==")
        for _ in 0..<3_000 {
            var damaged = list
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<damaged.count, using: &random)
                damaged[index] = UInt8.random(in: 0...255, using: &random)
            }
            let field = SignedField(name: octets("DKIM-Signature"), value: damaged)
            #expect(DKIMVerification([field], now: 0).isSigned)
            _ = try? KeyRecord(damaged)
        }
        for count in 0..<list.count {
            let field = SignedField(name: octets("DKIM-Signature"), value: Array(list[..<count]))
            let results = DKIMVerification([field], now: 0).results(keys: [:], bodies: [:])
            #expect(results.map(\.result) == [.permerror], "cut at \(count)")
        }
    }
}

@Suite struct CanonicalizationTests {
    /// The example of RFC 6376 §3.4.5.
    @Test func `fields and body of the RFC's example`() {
        let first = SignedField(name: octets("A"), value: octets(" X"))
        let second = SignedField(name: octets("B"), space: [0x20], value: octets(" Y\t\r\n\tZ  "))
        #expect(first.canonical(.relaxed) == octets("a:X"))
        #expect(second.canonical(.relaxed) == octets("b:Y Z"))
        #expect(first.canonical(.simple) == octets("A: X"))
        #expect(second.canonical(.simple) == octets("B : Y\t\r\n\tZ  "))
        let body = octets(" C \r\nD \t E\r\n\r\n\r\n")
        #expect(canonical(body, .relaxed) == octets(" C\r\nD E\r\n"))
        #expect(canonical(body, .simple) == octets(" C \r\nD \t E\r\n"))
    }

    @Test(arguments: [
        ("", "\r\n", ""), ("\r\n\r\n", "\r\n", ""), ("a", "a\r\n", "a\r\n"),
        (" \t \r\n \r\n", " \t \r\n \r\n", ""),
        ("a \r\n\r\nb\r\n", "a \r\n\r\nb\r\n", "a\r\n\r\nb\r\n"),
        ("a\rb\n", "a\rb\n\r\n", "a\rb\n\r\n"), ("a\r", "a\r\r\n", "a\r\r\n"),
        ("a \r \r\n", "a \r \r\n", "a \r\r\n"), ("a  ", "a  \r\n", "a\r\n"),
        ("\r\n\r\na", "\r\n\r\na\r\n", "\r\n\r\na\r\n"), ("\r\r\n", "\r\r\n", "\r\r\n"),
    ])
    func `a body is the same however it is cut`(body: String, simple: String, relaxed: String) {
        for piece in 1...max(1, body.utf8.count) {
            #expect(canonical(octets(body), .simple, piece) == octets(simple))
            #expect(canonical(octets(body), .relaxed, piece) == octets(relaxed))
        }
    }

    private func canonical(
        _ body: [UInt8],
        _ form: Canonicalization,
        _ piece: Int = 4_096
    ) -> [UInt8] {
        var canonicalizer = BodyCanonicalizer(form)
        var output: [UInt8] = []
        for start in stride(from: 0, to: body.count, by: piece) {
            output += canonicalizer.received(
                Array(body[start..<min(start + piece, body.count)])
            )
        }
        return output + canonicalizer.finished()
    }

    @Test func `a hash of a part ends where it is to end`() throws {
        let kinds: Set = [
            BodyHashKind(.simple, limit: 3), BodyHashKind(.simple),
            BodyHashKind(.relaxed, limit: 0),
        ]
        for piece in 1...6 {
            let found = BodyHashes(kinds).hashed(octets("abcdef"), piece: piece)
            #expect(
                found[BodyHashKind(.simple, limit: 3)]
                    == BodyHash(digest: Array(SHA256.hash(data: octets("abc"))), octets: 8)
            )
            #expect(
                found[BodyHashKind(.simple)]?.digest
                    == Array(SHA256.hash(data: octets("abcdef\r\n")))
            )
            #expect(
                found[BodyHashKind(.relaxed, limit: 0)]?.digest
                    == Array(SHA256.hash(data: [UInt8]()))
            )
        }
    }
}

@Suite struct KeyTests {
    private static let rsa = Example.bothKeys["test._domainkey.football.example.com"] ?? ""
    private static let value = String(rsa.split(separator: "p=")[1])

    @Test func `a record says what a key is for`() throws {
        let record = try KeyRecord(
            octets("v=DKIM1; t=y:s; h=sha1:sha256; s=email; n=x; p=\(Self.value);")
        )
        #expect(record.isTesting && record.isStrict && record.key.kind == .rsa)
        #expect(record.key.bits == 1_024)
        let plain = try KeyRecord(octets("p=\(Self.value)"))
        #expect(!plain.isTesting && !plain.isStrict)
        #expect(plain.key.octets == Base64.decode(Self.value))
    }

    @Test(arguments: [
        ("v=DKIM1; p=", "the key is revoked"), ("v=DKIM1", "the key record has no key"),
        ("v=DKIM2; p=AQ==", "the key record has another version"),
        ("p=AQ==; v=DKIM1", "the key record has another version"),
        ("h=sha1; p=AQ==", "the key is not for SHA-256"),
        ("s=tlsrpt; p=AQ==", "the key is not for mail"),
        ("k=dsa; p=AQ==", "the key is of an unknown kind"), ("p=AQ==", "the key cannot be read"),
        ("k=ed25519; p=AQ==", "the key cannot be read"), ("p=!", "the key cannot be read"),
        ("v=spf1 -all", "the key record has another version"),
        ("nonsense", "the key record cannot be read"),
    ])
    func `a record that cannot be used says why`(text: String, reason: String) {
        let error = #expect(throws: SignatureFailure.self) { try KeyRecord(octets(text)) }
        #expect(error == SignatureFailure(.permerror, reason))
    }

    @Test func `short and long keys, and two keys, are not used`() throws {
        // An RSAPublicKey: a modulus of so many octets, which no prime numbers made, and 65537.
        func record(_ count: Int) -> String {
            let modulus =
                [0x02, 0x82, UInt8(count >> 8), UInt8(count & 0xFF)]
                + [0x7F] + [UInt8](repeating: 0xFF, count: count - 1)
            let numbers = modulus + [0x02, 0x03, 0x01, 0x00, 0x01]
            let head = [0x30, 0x82, UInt8(numbers.count >> 8), UInt8(numbers.count & 0xFF)]
            return "p=\(Base64.encode(head + numbers))"
        }
        for (count, reason) in [(128, "the key is too short"), (1_025, "the key is too long")] {
            let error = #expect(throws: SignatureFailure.self) {
                try KeyRecord(octets(record(count)))
            }
            #expect(error == SignatureFailure(.permerror, reason))
        }
        #expect(try KeyRecord(octets(record(1_024))).key.bits == 8_191)
        let other = octets("v=spf1 -all")
        #expect(throws: Never.self) { try KeyRecord(.records([other, octets(Self.rsa)])) }
        let two = #expect(throws: SignatureFailure.self) {
            try KeyRecord(.records([octets(Self.rsa), octets(Self.rsa)]))
        }
        #expect(two?.reason == "there are several keys")
        let none = #expect(throws: SignatureFailure.self) { try KeyRecord(KeyAnswer.none) }
        #expect(none == SignatureFailure(.permerror, "there is no key"))
        let failed = #expect(throws: SignatureFailure.self) { try KeyRecord(.failed) }
        #expect(failed?.result == .temperror)
    }

    @Test(arguments: SignatureKeyKind.allCases)
    func `a key signs, is written and is read`(kind: SignatureKeyKind) throws {
        let key = try #require(PrivateKey(generating: kind, bits: 1_024))
        let digest = [UInt8](repeating: 7, count: 32)
        let signature = try #require(key.signature(of: digest))
        let pem = try #require(key.pem)
        let read = try #require(PrivateKey(pem: pem))
        #expect(read.publicOctets == key.publicOctets && read.kind == kind)
        let record = try KeyRecord(octets(KeyRecord.text(for: key) ?? ""))
        #expect(record.key.verifies(signature, of: digest))
        #expect(!record.key.verifies(signature, of: [UInt8](repeating: 8, count: 32)))
        #expect(!record.key.verifies(signature, of: []) && key.signature(of: []) == nil)
        for index in signature.indices {
            var wrong = signature
            wrong[index] ^= 1
            #expect(!record.key.verifies(wrong, of: digest))
        }
        #expect(
            !record.key.verifies([], of: digest)
                && !record.key.verifies(signature + [0], of: digest)
        )
        #expect(
            String(decoding: key.publicPEM ?? [], as: UTF8.self).hasPrefix(
                "-----BEGIN PUBLIC KEY-----"
            )
        )
    }

    @Test func `a public key in both forms of RSA is one key`() throws {
        let whole = try #require(Base64.decode(Self.value))
        let key = try #require(PublicKey(rsa: whole))
        // The RSAPublicKey is at the end of the SubjectPublicKeyInfo, behind 22 octets.
        let bare = try #require(PublicKey(rsa: Array(whole.dropFirst(22))))
        #expect(bare.octets == key.octets && key.octets == whole)
        #expect(PublicKey(rsa: whole + [0]) == nil && PublicKey(rsa: []) == nil)
        for count in 0..<whole.count { #expect(PublicKey(rsa: Array(whole[..<count])) == nil) }
        #expect(
            PrivateKey(
                pem: octets("-----BEGIN PRIVATE KEY-----\nAQ==\n-----END PRIVATE KEY-----\n")
            ) == nil
        )
    }
}

@Suite struct DKIMVerificationTests {
    private static let message = crlf(
        """
        From: Joe <joe@example.com>
        Subject: a   test
        To: a@example.net

        Hello  you. \("")

        End.


        """
    )

    @Test func `the examples of RFC 6376 and RFC 8463 pass`() {
        let first = verify(crlf(Example.rsa), Example.rsaKeys)
        #expect(first.map(\.result) == [.pass])
        #expect(first.map { $0.domain?.domain.text } == ["example.com"])
        #expect(first.map(\.identity) == ["joe@football.example.com"])
        #expect(first.map(\.prefix) == ["AuUoFEfD"])
        let second = verify(crlf(Example.both), Example.bothKeys)
        #expect(second.map(\.result) == [.pass, .pass])
        #expect(second.map(\.algorithm) == [.ed25519SHA256, .rsaSHA256])
        for piece in [1, 2, 7] {
            #expect(verify(crlf(Example.both), Example.bothKeys, piece: piece) == second)
        }
    }

    /// Each octet of the body, of what is signed and of the signature itself; relaxed, an octet that is
    /// white space or a letter of a name may stand for another.
    @Test func `one octet that is changed is a failure`() {
        let whole = crlf(Example.rsa)
        let signatureName = octets("DKIM-Signature").count
        for index in whole.indices where index >= signatureName {
            var changed = whole
            changed[index] =
                changed[index] == UInt8(ascii: "x") ? UInt8(ascii: "y") : UInt8(ascii: "x")
            let results = verify(changed, Example.rsaKeys)
            #expect(results.allSatisfy { $0.result != .pass }, "octet \(index)")
        }
    }

    @Test(arguments: SignatureKeyKind.allCases)
    func `what we sign passes, and nothing may be added`(kind: SignatureKeyKind) throws {
        let signer = try Signer(kind)
        let signed = try signer.signed(Self.message)
        #expect(verify(signed, signer.records).map(\.result) == [.pass])
        let field = signed.prefix { $0 != UInt8(ascii: "\n") }
        #expect(field.count <= 78)
        for line in String(decoding: signed, as: UTF8.self).split(separator: "\r\n") {
            #expect(line.utf8.count <= 78, "\(line)")
        }
        for added in [
            "From: b@b.example\r\n", "Subject: b\r\n", "Cc: c@c.example\r\n",
            "Content-Type: text/html\r\n",
        ] {
            let changed = octets(added) + signed
            #expect(verify(changed, signer.records).map(\.result) == [.fail], "\(added)")
        }
        let harmless = octets("Received: by us\r\nX-Spam: no\r\n") + signed
        #expect(verify(harmless, signer.records).map(\.result) == [.pass])
        #expect(
            verify(signed + octets("more"), signer.records).map(\.reason) == [
                "the body was changed"
            ]
        )
    }

    @Test(arguments: [
        ("simple", Canonicalization.simple, Canonicalization.simple, [false, false, false]),
        ("relaxed/simple", .relaxed, .simple, [true, false, false]),
        ("simple/relaxed", .simple, .relaxed, [false, true, false]),
        ("relaxed/relaxed", .relaxed, .relaxed, [true, true, false]),
    ])
    func `each form allows what it allows`(
        name: String,
        header: Canonicalization,
        body: Canonicalization,
        passes: [Bool]
    ) throws {
        let signer = try Signer()
        let text = String(decoding: Self.message, as: UTF8.self)
        let signed = try signer.signed(
            Self.message,
            tags: "v=1; a=ed25519-sha256; c=\(name); d=example.com; s=sel",
            header,
            body
        )
        let signature = signed.dropLast(Self.message.count)
        func result(_ changed: String) -> Bool {
            verify(signature + octets(changed), signer.records).map(\.result) == [.pass]
        }
        #expect(result(text) && result(text + "\r\n\r\n"))
        func replaced(_ old: String, _ new: String) -> String {
            text.split(separator: old, maxSplits: 1, omittingEmptySubsequences: false).joined(
                separator: new
            )
        }
        let changes = [
            replaced("Subject: a   test", "subject:a\r\n\ttest "),
            replaced("Hello  you. \r\n", "Hello\tyou.\r\n"),
            replaced("Hello  you", "Helloyou"),
        ]
        #expect(changes.map(result) == passes)
    }

    @Test func `a body that is longer than was signed has a result of its own`() throws {
        let signer = try Signer()
        let tags = "v=1; a=ed25519-sha256; d=example.com; s=sel"
        let signed = try signer.signed(Self.message, tags: tags + "; l=5", limit: 5)
        #expect(verify(signed, signer.records).map(\.result) == [.policy])
        let all = BodyHashes([BodyHashKind(.simple)]).hashed(PlayedMessage(Self.message).body)
        let count = try #require(all[BodyHashKind(.simple)]).octets
        let exact = try signer.signed(Self.message, tags: tags + "; l=\(count)", limit: count)
        #expect(verify(exact, signer.records).map(\.result) == [.pass])
        #expect(verify(exact + octets("x"), signer.records).map(\.result) == [.policy])
        let longer = try signer.signed(
            Self.message,
            tags: tags + "; l=\(count + 1)",
            limit: count + 1
        )
        #expect(verify(longer, signer.records).map(\.reason) == ["the body is shorter than l="])
        let huge = try signer.signed(
            Self.message,
            tags: tags + "; l=99999999999999999999",
            limit: .max
        )
        #expect(verify(huge, signer.records).map(\.result) == [.permerror])
    }

    @Test(arguments: [
        ("v=1; a=ed25519-sha256; d=example.com; s=sel", "from:subject", SignatureResult.pass, nil),
        ("v=1; a=ed25519-sha256; d=EXAMPLE.com; s=SEL; i=x@Sub.example.COM", "from", .pass, nil),
        (
            "v=1; a=ed25519-sha256; d=example.com; s=sel; x=1600000000; t=5; q=a : dns/txt; z=x",
            "from", .pass, nil
        ),
        ("a=ed25519-sha256; d=example.com; s=sel", "from", .permerror, "v= is not 1"),
        ("v=2; a=ed25519-sha256; d=example.com; s=sel", "from", .permerror, "v= is not 1"),
        ("v=1; a=rsa-sha1; d=example.com; s=sel", "from", .permerror, "rsa-sha1 is not secure"),
        ("v=1; a=x; d=example.com; s=sel", "from", .permerror, "unknown algorithm"),
        (
            "v=1; a=rsa-sha256; d=example.com; s=sel", "from", .permerror,
            "the key is of another kind"
        ),
        ("v=1; a=ed25519-sha256; s=sel", "from", .permerror, "no d="),
        ("v=1; a=ed25519-sha256; d=example.com", "from", .permerror, "no s="),
        (
            "v=1; a=ed25519-sha256; d=a(b.example.com; s=sel", "from", .permerror,
            "d= or s= is no name"
        ),
        ("v=1; a=ed25519-sha256; d=com; s=sel", "from", .permerror, "d= or s= is no name"),
        ("v=1; a=ed25519-sha256; d=example.com; s=other", "from", .permerror, "there is no key"),
        (
            "v=1; a=ed25519-sha256; d=example.com; s=sel", "subject", .permerror,
            "From is not signed"
        ),
        ("v=1; a=ed25519-sha256; c=x; d=example.com; s=sel", "from", .permerror, "c= is unknown"),
        (
            "v=1; a=ed25519-sha256; d=example.com; s=sel; i=a@badexample.com", "from", .permerror,
            "i= is not within d="
        ),
        (
            "v=1; a=ed25519-sha256; d=example.com; s=sel; i=example.com", "from", .permerror,
            "i= is not within d="
        ),
        (
            "v=1; a=ed25519-sha256; d=example.com; s=sel; q=x", "from", .permerror,
            "q= names no way that is known"
        ),
        ("v=1; a=ed25519-sha256; d=example.com; s=sel; t=x", "from", .permerror, "t= is no time"),
        ("v=1; a=ed25519-sha256; d=example.com; s=sel; x=", "from", .permerror, "x= is no time"),
        (
            "v=1; a=ed25519-sha256; d=example.com; s=sel; t=9; x=9", "from", .permerror,
            "x= is before t="
        ),
        (
            "v=1; a=ed25519-sha256; d=example.com; s=sel; x=1599999999", "from", .fail,
            "the signature has expired"
        ),
        (
            "v=1; a=ed25519-sha256; d=example.com; s=sel; l=-1", "from", .permerror,
            "l= is no number"
        ),
        (
            "v=1; a=ed25519-sha256; d=example.com; s=sel; v=1", "from", .permerror,
            "the signature cannot be read"
        ),
    ])
    func `a signature says what RFC 6376 wants`(
        tags: String,
        names: String,
        result: SignatureResult,
        reason: String?
    ) throws {
        let signer = try Signer()
        let found = verify(
            try signer.signed(Self.message, tags: tags, names: names),
            signer.records
        )
        #expect(found.map(\.result) == [result] && found.map(\.reason) == [reason])
    }

    @Test func `flags of the key count`() throws {
        let signer = try Signer()
        let name = signer.domain.keyName.text
        let below = try signer.signed(
            Self.message,
            tags: "v=1; a=ed25519-sha256; d=example.com; s=sel; i=@a.example.com"
        )
        #expect(
            verify(below, [name: "t=s; \(signer.record.dropFirst(9))"]).map(\.reason)
                == ["the key wants i= to be d="]
        )
        let testing = [name: "v=DKIM1; t=y;\(signer.record.dropFirst(8))"]
        #expect(verify(below, testing).map(\.result) == [.pass])
        #expect(verify(below + octets("x"), testing).map(\.result) == [.neutral])
    }

    @Test func `names that are not ASCII are asked for in ASCII`() throws {
        let signer = try Signer(domain: "xn--bcher-kva.example")
        let signed = try signer.signed(
            Self.message,
            tags: "v=1; a=ed25519-sha256; d=bücher.example; s=sel; i=@xn--bcher-kva.example"
        )
        #expect(verify(signed, signer.records).map(\.result) == [.pass])
    }

    @Test func `of fields with one name the lowest is signed first`() throws {
        let signer = try Signer()
        let two = octets("X: upper\r\n") + octets("X: lower\r\n") + Self.message
        let signed = try signer.signed(
            two,
            tags: "v=1; a=ed25519-sha256; d=example.com; s=sel",
            names: "from:x"
        )
        #expect(verify(signed, signer.records).map(\.result) == [.pass])
        let third = octets("X: more\r\n") + signed
        #expect(verify(third, signer.records).map(\.result) == [.pass])
        let signature = signed.dropLast(two.count)
        let swapped = octets("X: lower\r\n") + octets("X: upper\r\n") + Self.message
        #expect(verify(signature + swapped, signer.records).map(\.result) == [.fail])
    }

    @Test func `ten signatures are looked at, each with a prefix of its own`() throws {
        let signer = try Signer()
        var message = Self.message
        for _ in 0..<11 { message = try signer.signed(message) }
        let results = verify(message, signer.records)
        // Ed25519 is deterministic: all are one signature.
        #expect(results.count == DKIMVerification.maximumSignatures)
        #expect(results.allSatisfy { $0.result == .pass && $0.prefix?.count == 64 })
        let two = try Signer(.rsa).signed(Self.message)
        #expect(verify(two, [:]).map { $0.prefix?.count } == [8])
        #expect(verify(Self.message, [:]).isEmpty)
    }
}
