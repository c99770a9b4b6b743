import Configuration
import PolicyCore
import PolicyProtocol
import SMTPCore

// MARK: - AUTH

extension SMTPSessionHandler {
    /// Octets of the nonce in the challenges of a session.
    private static let nonceOctets = 16

    /// What makes the challenges of CRAM-MD5 unguessable; drawn only where a client can ask for one.
    static func newChallengeNonce(_ smtp: SMTPConfiguration) -> [UInt8] {
        guard smtp.mechanisms.contains(.cramMD5) else { return [] }
        var random = SystemRandomNumberGenerator()
        let digits = Array("0123456789abcdef".utf8)
        return (0..<2 * Self.nonceOctets).map { _ in digits[Int.random(in: 0..<16, using: &random)]
        }
    }

    /// The client has sent its credentials; policy is not asked about an address whose logins failed too
    /// often.
    func askLogin(_ question: SMTPQuestion) {
        let now = self.server.nowNS
        let mayLogIn = self.server.failedLogins.mayLogIn(
            self.clientNetwork,
            most: self.limits.failedLogins.maximumPerIP,
            now: self.server.nowMS
        )
        self.tell { $0.asked(question, now: now, mayLogIn: mayLogIn, &$1) }
    }

    /// Policy answered a login: one that failed for good counts.
    func loginAnswered(_ outcome: SMTPOutcome) {
        guard let reply = outcome.refusal, reply.code.isPermanent else { return }
        self.server.failedLogins.failed(
            self.clientNetwork,
            rememberedMS: self.limits.failedLogins.rememberedMS,
            now: self.server.nowMS
        )
    }
}
