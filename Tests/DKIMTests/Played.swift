import Crypto
import DKIM
import DomainNames
import Octets
import SignatureKeys
import Testing

func octets(_ text: String) -> [UInt8] { Array(text.utf8) }

/// Lines as they travel.
func crlf(_ text: String) -> [UInt8] {
    octets(text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\r\n"))
}

/// A message taken apart: its fields from the top, and what follows the empty line.
struct PlayedMessage {
    var fields: [SignedField] = []
    var body: [UInt8] = []

    init(_ octets: [UInt8]) {
        var lines: [[UInt8]] = []
        var start = 0
        while start < octets.count {
            var end = start
            while end + 1 < octets.count, octets[end] != 0x0D || octets[end + 1] != 0x0A {
                end += 1
            }
            if end + 1 >= octets.count { end = octets.count }
            let line = Array(octets[start..<end])
            start = min(end + 2, octets.count)
            if line.isEmpty {
                self.body = Array(octets[start...])
                break
            }
            if line.first?.isBlank == true, !lines.isEmpty {
                lines[lines.count - 1] += [0x0D, 0x0A] + line
            } else {
                lines.append(line)
            }
        }
        for line in lines {
            guard let colon = line.firstIndex(of: .colon) else { continue }
            let name = Array(line[..<colon])
            let space = name.reversed().prefix { $0.isBlank }
            self.fields.append(
                SignedField(
                    name: Array(name.dropLast(space.count)),
                    space: Array(space.reversed()),
                    value: Array(line[(colon + 1)...])
                )
            )
        }
    }
}

extension BodyHashes {
    /// The hashes of a body that comes in pieces of so many octets.
    func hashed(_ body: [UInt8], piece: Int = 65_536) -> [BodyHashKind: BodyHash] {
        var hashes = self
        for start in stride(from: 0, to: body.count, by: piece) {
            hashes.received(Array(body[start..<min(start + piece, body.count)]))
        }
        return hashes.finished()
    }
}

/// The keys of a DNS that has no other names.
func answers(_ names: [DNSName], _ records: [String: String]) -> [DNSName: KeyAnswer] {
    var found: [DNSName: KeyAnswer] = [:]
    for name in names {
        found[name] = records[name.text].map { .records([octets($0)]) } ?? KeyAnswer.none
    }
    return found
}

/// What the signatures of a message are worth.
func verify(
    _ message: [UInt8],
    _ records: [String: String],
    now: Int64 = 1_600_000_000,
    piece: Int = 65_536
) -> [DKIMResult] {
    let message = PlayedMessage(message)
    let verification = DKIMVerification(message.fields, now: now)
    return verification.results(
        keys: answers(verification.keyNames, records),
        bodies: verification.bodyHashes.hashed(message.body, piece: piece)
    )
}

/// The examples of RFC 6376 and RFC 8463, in their appendices A.
enum Example {
    private static let letter = """
        From: Joe SixPack <joe@football.example.com>
        To: Suzie Q <suzie@shopping.example.net>
        Subject: Is dinner ready?
        Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
        Message-ID: <20030712040037.46341.5F8J@football.example.com>

        Hi.

        We lost the game.%Are you hungry yet?

        Joe.

        """

    static let rsa = """
        DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
              c=simple/simple; q=dns/txt; i=joe@football.example.com;
              h=Received : From : To : Subject : Date : Message-ID;
              bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
              b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
                4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
                KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
                4bmp/YzhwvcubU4=;
        Received: from client1.football.example.com  [192.0.2.1]
              by submitserver.example.com with SUBMISSION;
              Fri, 11 Jul 2003 21:01:54 -0700 (PDT)

        """ + letter.split(separator: "%").joined(separator: " ")

    static let rsaKeys = [
        "brisbane._domainkey.example.com": """
        v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v\
        3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYck\
        cQ2QIDAQAB
        """
    ]

    static let both = """
        DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
         d=football.example.com; i=@football.example.com;
         q=dns/txt; s=brisbane; t=1528637909; h=from : to :
         subject : date : message-id : from : subject : date;
         bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
         b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
         Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
        DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
         d=football.example.com; i=@football.example.com;
         q=dns/txt; s=test; t=1528637909; h=from : to : subject :
         date : message-id : from : subject : date;
         bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
         b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
         DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
         dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=

        """ + letter.split(separator: "%").joined(separator: "  ")

    static let bothKeys = [
        "brisbane._domainkey.football.example.com":
            "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
        "test._domainkey.football.example.com": """
        v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/\
        J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTI\
        KT+l/K4w3QIDAQAB
        """,
    ]
}

/// A domain that signs, with keys made for this run.
struct Signer {
    let key: PrivateKey
    let domain: SigningDomain
    let record: String

    init(
        _ kind: SignatureKeyKind = .ed25519,
        bits: Int = 1_024,
        domain: String = "example.com"
    )
        throws
    {
        self.key = try #require(PrivateKey(generating: kind, bits: bits))
        self.domain = try #require(
            SigningDomain(domain: octets(domain), selector: octets("sel"))
        )
        self.record = try #require(KeyRecord.text(for: self.key))
    }

    var records: [String: String] { [self.domain.keyName.text: self.record] }

    /// The message with a signature that the domain's own code made.
    func signed(_ text: [UInt8], now: Int64 = 1_600_000_000) throws -> [UInt8] {
        let message = PlayedMessage(text)
        let value = try #require(
            DKIMSigning(message.fields, now: now).value(
                self.key,
                self.domain,
                bodies: DKIMSigning.bodyHashes.hashed(message.body)
            )
        )
        return octets("DKIM-Signature:") + value + [0x0D, 0x0A] + text
    }

    /// The message with a signature of these tags, `bh=` and `b=` made to fit; `limit` is `l=`.
    func signed(
        _ text: [UInt8],
        tags: String,
        names: String = "from:subject",
        _ header: Canonicalization = .simple,
        _ body: Canonicalization = .simple,
        limit: Int64? = nil
    ) throws -> [UInt8] {
        let message = PlayedMessage(text)
        let kind = BodyHashKind(body, limit: limit)
        let hash = try #require(BodyHashes([kind]).hashed(message.body)[kind])
        let value = octets(" \(tags); h=\(names); bh=\(Base64.encode(hash.digest)); b=")
        var signed: [UInt8] = []
        for name in names.split(separator: ":") {
            guard
                let field = message.fields.last(where: {
                    $0.name.map(\.lowerCased) == octets(name.lowercased())
                })
            else { continue }
            signed += field.canonical(header) + [0x0D, 0x0A]
        }
        signed += SignedField(name: octets("DKIM-Signature"), value: value).canonical(header)
        let digest = Array(SHA256.hash(data: signed))
        let signature = try #require(self.key.signature(of: digest))
        return octets("DKIM-Signature:") + value + Base64.encoded(signature) + [0x0D, 0x0A] + text
    }
}
