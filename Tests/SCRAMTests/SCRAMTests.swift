import Octets
import Testing

@testable import SCRAM

private func octets(_ text: String) -> [UInt8] { Array(text.utf8) }

private func base64(_ octets: [UInt8]) -> String {
    String(decoding: Base64.encoded(octets), as: UTF8.self)
}

/// The example of RFC 7677 §3: user `user`, password `pencil`.
struct SCRAMTests {
    private static let salt = Base64.decode("W22ZaJ0SNY7soEsUEjb6gQ==") ?? []
    private static let keys = SCRAMKeys(password: octets("pencil"), salt: salt, iterations: 4_096)
    private static let first = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    private static let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    private static let challenge = "r=\(nonce),s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    private static let state = octets(first) + [0] + octets(challenge)
    private static let proof = "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    private static let endPoint: [UInt8] = [0, 1, 0xFF]

    private static func plain(_ endPoint: [UInt8]? = nil) -> SCRAMExchange {
        SCRAMExchange(isPlus: false, endPoint: endPoint)
    }

    private static let plus = SCRAMExchange(isPlus: true, endPoint: endPoint)

    /// What a client that knows the password sends.
    private static func final(
        _ first: String,
        _ challenge: [UInt8],
        bound: [UInt8],
        header: Int,
        _ password: String = "pencil"
    ) -> [UInt8] {
        let text = String(decoding: challenge, as: UTF8.self)
        let nonce = text.split(separator: ",")[0].dropFirst(2)
        let without = octets("c=\(base64(bound)),r=\(nonce)")
        let salted = SCRAMKeys.saltedPassword(octets(password), self.salt, 4_096)
        let clientKey = SCRAMKeys.code(of: octets("Client Key"), salted)
        let keys = SCRAMKeys(password: octets(password), salt: self.salt, iterations: 4_096)
        let bare = Array(octets(first).dropFirst(header))
        let signed = bare + octets(",") + challenge + octets(",") + without
        let signature = SCRAMKeys.code(of: signed, keys.storedKey)
        return without + octets(",p=\(base64(zip(clientKey, signature).map { $0 ^ $1 }))")
    }

    // MARK: - Keys

    @Test func `keys are read as Dovecot writes them, and know their password`() throws {
        let text = [self.stored("4096"), base64(Self.keys.storedKey), base64(Self.keys.serverKey)]
        let keys = try #require(SCRAMKeys(dovecot: text.joined(separator: ",")))
        #expect(keys == Self.keys && keys.iterations == 4_096)
        #expect(keys.matches(octets("pencil")))
        for other in ["Pencil", "pencil ", "", "penci"] { #expect(!keys.matches(octets(other))) }
        for text in ["\(keys)", String(reflecting: keys), "\(Optional(keys) as Any)"] {
            #expect(text.contains("SCRAM-SHA-256 keys") && !text.contains("4096"))
        }
    }

    private func stored(_ iterations: String) -> String { "\(iterations),W22ZaJ0SNY7soEsUEjb6gQ==" }

    @Test(arguments: [
        "", "4096", "4096,c2FsdA==", "4096,c2FsdA==,KEY", "4096,c2FsdA==,KEY,KEY,", "4096,,KEY,KEY",
        "4095,c2FsdA==,KEY,KEY", "1000001,c2FsdA==,KEY,KEY", "-1,c2FsdA==,KEY,KEY",
        "x,c2FsdA==,KEY,KEY", "99999999999999999999,c2FsdA==,KEY,KEY", "4096,c2FsdA,KEY,KEY",
        "4096,c2FsdA==,c2FsdA==,KEY", "4096,c2FsdA==,KEY,c2FsdA==", "4096,c2FsdA==,KEY ,KEY",
    ])
    func `what is not whole is no key`(text: String) {
        let key = base64([UInt8](repeating: 7, count: 32))
        let spelled = text.split(separator: ",", omittingEmptySubsequences: false)
            .map { $0.hasPrefix("KEY") ? key + $0.dropFirst(3) : String($0) }
            .joined(separator: ",")
        #expect(SCRAMKeys(dovecot: spelled) == nil)
        #expect(SCRAMKeys(dovecot: "4096,c2FsdA==,\(key),\(key)") != nil)
    }

    @Test func `a user that is not known has the same salt each time, and another than others`() {
        let jo = Self.keys.standIn(for: octets("jo"))
        #expect(jo == Self.keys.standIn(for: octets("jo")))
        #expect(jo.salt.count == Self.salt.count && jo.iterations == 4_096)
        let others = ["ann", "j", "joo", ""].map { Self.keys.standIn(for: octets($0)).salt }
        #expect(Set(others + [jo.salt, Self.salt]).count == 6)
        let other = SCRAMKeys(password: octets("other"), salt: Self.salt, iterations: 4_096)
        #expect(other.standIn(for: octets("jo")).salt != jo.salt)
    }

    // MARK: - Messages

    @Test func `the example of the RFC is answered as the RFC does`() throws {
        let final = octets("c=biws,r=\(Self.nonce),\(Self.proof)")
        let answer = try Self.plain().final(final, state: Self.state, Self.keys)
        #expect(answer == octets("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="))
        let (challenge, state) = try Self.plain().first(
            octets(Self.first),
            Self.keys,
            nonce: [1, 2, 3]
        )
        #expect(challenge == octets("r=rOprNGfwEbeRWgbNEkqOAQID,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"))
        #expect(state == octets(Self.first) + [0] + challenge)
    }

    @Test(arguments: [
        ("n,,n=user,r=x", 3, false), ("n,a=user,n=user,r=x,e=1", 9, false),
        ("p=tls-server-end-point,,n=user,r=x", 24, true),
    ])
    func `a client that knows the password is let in, one octet off is not`(
        first: String,
        header: Int,
        isPlus: Bool
    ) throws {
        let exchange = isPlus ? Self.plus : Self.plain()
        let (challenge, state) = try exchange.first(octets(first), Self.keys, nonce: [1, 2, 3])
        let bound = octets(first).prefix(header) + (isPlus ? Self.endPoint : [])
        let final = Self.final(first, challenge, bound: Array(bound), header: header)
        #expect(try exchange.final(final, state: state, Self.keys).starts(with: octets("v=")))
        let wrong = Self.final(first, challenge, bound: Array(bound), header: header, "Pencil")
        #expect(throws: SCRAMExchange.Refusal.wrongProof) {
            try exchange.final(wrong, state: state, Self.keys)
        }
        // No message with another octet, and none that is cut short, proves anything.
        for index in final.indices {
            var other = final
            other[index] ^= 1
            #expect(throws: SCRAMExchange.Refusal.self) {
                try exchange.final(other, state: state, Self.keys)
            }
            #expect(throws: SCRAMExchange.Refusal.self) {
                try exchange.final(Array(final[..<index]), state: state, Self.keys)
            }
        }
    }

    @Test func `another channel than ours is refused`() throws {
        let first = "p=tls-server-end-point,,n=user,r=x"
        let (challenge, state) = try Self.plus.first(octets(first), Self.keys, nonce: [1])
        for bound in [octets(first).prefix(24) + [0, 1, 0xFE], octets(first).prefix(24) + []] {
            let final = Self.final(first, challenge, bound: Array(bound), header: 24)
            #expect(throws: SCRAMExchange.Refusal.channelBinding) {
                try Self.plus.final(final, state: state, Self.keys)
            }
        }
    }

    /// The client's flag, the mechanism, whether -PLUS is offered, and why it is refused.
    static let flags: [(String, isPlus: Bool, isOffered: Bool, SCRAMExchange.Refusal?)] = [
        ("n", false, false, nil), ("n", false, true, nil), ("y", false, false, nil),
        ("y", false, true, .downgrade), ("n", true, true, .channelBinding),
        ("y", true, true, .channelBinding), ("p=tls-server-end-point", true, true, nil),
        ("p=tls-server-end-point", false, true, .channelBinding),
        ("p=tls-server-end-point", true, false, .channelBinding),
        ("p=tls-exporter", true, true, .channelBinding),
        ("p=tls-unique", true, true, .channelBinding), ("", false, false, .malformed),
        ("N", false, false, .malformed), ("p", true, true, .malformed),
    ]

    @Test(arguments: flags)
    func `the flag must fit what was offered`(
        flag: String,
        isPlus: Bool,
        isOffered: Bool,
        refusal: SCRAMExchange.Refusal?
    ) {
        let exchange = SCRAMExchange(isPlus: isPlus, endPoint: isOffered ? Self.endPoint : nil)
        do throws(SCRAMExchange.Refusal) {
            _ = try exchange.first(octets("\(flag),,n=user,r=x"), Self.keys, nonce: [1])
            #expect(refusal == nil)
        } catch {
            #expect(error == refusal)
        }
    }

    @Test(arguments: [
        "", "n,,", "n,,n=user", "n,,n=user,", "n,,n=user,r=", "n,,n=,r=x", "n,,r=x,n=user",
        "n,,m=1,n=user,r=x", "n,,n=user,r=x,m=1", "n,,n=user,r=x,1=1", "n,,n=user,r=x,e",
        "n,,n=user,r=x,", "n,user,n=user,r=x", "n,a=,n=user,r=x", "n,,n=user,r=a b",
        "n,,n=user,r=\u{7F}", "n,,n=user,r=é", "n,,n=us\0er,r=x", "n,,N=user,r=x",
    ])
    func `a first message that is malformed is refused`(message: String) {
        #expect(throws: SCRAMExchange.Refusal.malformed) {
            try Self.plain().first(octets(message), Self.keys, nonce: [1])
        }
    }

    /// A client's last message, and why it is refused.
    static let finals: [(String, SCRAMExchange.Refusal)] = [
        ("", .malformed), ("c=biws", .malformed), ("c=biws,r=\(nonce)", .malformed),
        ("c=biws,\(proof)", .malformed), ("c=biws,r=\(nonce),\(proof),e=1", .malformed),
        ("c=biws,r=\(nonce),p=AAAA", .malformed), ("c=biws,r=\(nonce),p=!", .malformed),
        ("c=biw,r=\(nonce),\(proof)", .malformed), ("r=\(nonce),c=biws,\(proof)", .malformed),
        ("c=biws,r=\(nonce),m=1,\(proof)", .malformed),
        ("c=biws,r=\(nonce)\0,\(proof)", .malformed),
        ("c=biws,r=\(nonce)x,\(proof)", .otherNonce), ("c=biws,r=rOpr,\(proof)", .otherNonce),
        ("c=eSws,r=\(nonce),\(proof)", .channelBinding),
        ("c=biwsAAA=,r=\(nonce),\(proof)", .channelBinding),
        ("c=biws,r=\(nonce),e=1,\(proof)", .wrongProof),
    ]

    @Test(arguments: finals)
    func `a last message is refused for what is wrong with it`(
        message: String,
        refusal: SCRAMExchange.Refusal
    ) {
        #expect(throws: refusal) {
            try Self.plain().final(octets(message), state: Self.state, Self.keys)
        }
    }

    @Test func `a state that is not ours is refused`() {
        let final = octets("c=biws,r=\(Self.nonce),\(Self.proof)")
        for state in [[], octets("proved"), [0], octets("n,,") + [0]] {
            #expect(throws: SCRAMExchange.Refusal.malformed) {
                try Self.plain().final(final, state: state, Self.keys)
            }
        }
    }
}
