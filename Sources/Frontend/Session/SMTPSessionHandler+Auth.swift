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

    /// The client has sent its credentials; policy is not asked if too many logins failed.
    func askLogin(_ question: SMTPQuestion) {
        guard case .auth(let credentials) = question else { return }
        let user = UserKey(credentials.user)
        self.loginUser = user
        let history = self.loginHistory(of: user)
        let now = self.server.nowNS
        self.tell { $0.asked(question, now: now, logins: history, &$1) }
    }

    private func loginHistory(of user: UserKey) -> LoginHistory {
        let limits = self.limits.failedLogins
        let ofAddress = self.server.failedLogins.count(self.clientNetwork, now: self.server.nowMS)
        let ofUser = self.server.failedLoginsOfUsers.count(user, now: self.server.nowMS)
        func isOver(_ count: Int, _ most: Int) -> Bool { most > 0 && count >= most }
        let excess: LoginHistory.Excess =
            isOver(ofAddress, limits.maximumPerIP)
            ? .address : isOver(ofUser, limits.maximumPerUser) ? .user : .none
        return LoginHistory(ofAddress: ofAddress, ofUser: ofUser, excess: excess)
    }

    /// Policy answered a login: one that failed for good counts.
    func loginAnswered(_ outcome: SMTPOutcome) {
        guard let user = self.loginUser else { return }
        self.loginUser = nil
        guard let reply = outcome.refusal, reply.code.isPermanent else { return }
        self.server.limitCounters.loginFailed()
        let (now, rememberedMS) = (self.server.nowMS, self.limits.failedLogins.rememberedMS)
        self.server.failedLogins.failed(self.clientNetwork, rememberedMS: rememberedMS, now: now)
        self.server.failedLoginsOfUsers.failed(user, rememberedMS: rememberedMS, now: now)
    }
}
