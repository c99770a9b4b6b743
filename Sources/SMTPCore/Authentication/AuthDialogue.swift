import Octets

/// The messages of one AUTH, until the client has sent its user name and its proof.
///
/// - Note: RFC 4954 §4.
struct AuthDialogue: SMTPLineDialogue {
    private let mechanism: SMTPMechanism
    private var step: Step

    /// What the client's next message is.
    private enum Step {
        /// PLAIN: an authorization identity, the user and the password, with a NUL between them.
        case identities
        case user
        case password(user: [UInt8])
        /// The user, a space, and 32 hexadecimal digits.
        case response(challenge: [UInt8])
        /// The first message of a mechanism of several steps.
        case first(FirstMessage)
        /// The answer to a challenge of policy's.
        case next(user: [UInt8], step: Int)
    }

    /// `challenge` is what CRAM-MD5 sends; other mechanisms do not look at it.
    init(_ mechanism: SMTPMechanism, challenge: [UInt8]) {
        self.mechanism = mechanism
        self.step =
            switch mechanism {
            case .plain: .identities
            case .login: .user
            case .cramMD5: .response(challenge: challenge)
            case .scramSHA256, .scramSHA256Plus: .first(.scram)
            case .oauthBearer: .first(.oauthBearer)
            case .xoauth2: .first(.xoauth2)
            }
    }

    /// The server speaks first: the client may not send an initial response.
    var beginsWithServer: Bool { if case .response = self.step { true } else { false } }

    /// Policy has been asked about a message, and may answer with a challenge.
    var goesOn: Bool { if case .next = self.step { true } else { false } }

    /// 334, with what the next message answers.
    var challenge: SMTPReply {
        switch self.step {
        case .identities, .first: StandardReplies.emptyChallenge
        case .user: StandardReplies.userChallenge
        case .password: StandardReplies.passwordChallenge
        case .response(let challenge): .challenge(challenge)
        // Policy's; nothing is sent before it is known.
        case .next: StandardReplies.emptyChallenge
        }
    }

    mutating func lineRead(_ line: borrowing Span<UInt8>) -> SMTPLineAction {
        if line.count == 1, line[0] == UInt8(ascii: "*") {
            return .refuse(StandardReplies.authCancelled)
        }
        return self.messageRead(line, 0..<line.count)
    }

    /// The client's message is the base64 in `range`.
    mutating func messageRead(
        _ octets: borrowing Span<UInt8>,
        _ range: Range<Int>
    ) -> SMTPLineAction {
        guard let message = Base64.decode(octets.extracting(range)) else {
            return .refuse(StandardReplies.badBase64)
        }
        return self.messageRead(message)
    }

    /// The client's message.
    mutating func messageRead(_ message: [UInt8]) -> SMTPLineAction {
        switch self.step {
        case .identities: return self.identitiesRead(message)
        case .user:
            guard Self.isAcceptable(message) else {
                return .refuse(StandardReplies.badCredentials)
            }
            self.step = .password(user: message)
            return .challenge(self.challenge)
        case .password(let user): return self.ask(user, .password(message))
        case .response(let challenge): return self.responseRead(message, to: challenge)
        case .first(let form):
            do throws(SMTPRefusal) {
                return self.askNext(try form.user(in: message), message, step: 1)
            } catch {
                return .refuse(error.reply)
            }
        case .next(let user, let step): return self.askNext(user, message, step: step)
        }
    }

    private mutating func askNext(
        _ user: [UInt8],
        _ message: [UInt8],
        step: Int
    ) -> SMTPLineAction {
        self.step = .next(user: user, step: step + 1)
        return self.ask(user, .message(message, step: step))
    }

    /// - Note: RFC 4616 §2.
    private func identitiesRead(_ message: [UInt8]) -> SMTPLineAction {
        let parts = message.split(separator: .nul, omittingEmptySubsequences: false)
        guard parts.count == 3 else { return .refuse(StandardReplies.badCredentials) }
        // No client may act for another user.
        guard parts[0].isEmpty || parts[0] == parts[1] else {
            return .refuse(StandardReplies.otherIdentity)
        }
        return self.ask(Array(parts[1]), .password(Array(parts[2])))
    }

    /// - Note: RFC 2195 §2.
    private func responseRead(_ message: [UInt8], to challenge: [UInt8]) -> SMTPLineAction {
        guard let space = message.lastIndex(of: .space) else {
            return .refuse(StandardReplies.badCredentials)
        }
        let digest = message[(space + 1)...]
        guard digest.count == 32, digest.allSatisfy(\.isHexadecimalDigit) else {
            return .refuse(StandardReplies.badCredentials)
        }
        return self.ask(Array(message[..<space]), .response(Array(digest), challenge: challenge))
    }

    private func ask(_ user: [UInt8], _ proof: SMTPCredentials.Proof) -> SMTPLineAction {
        guard Self.isAcceptable(user) else { return .refuse(StandardReplies.badCredentials) }
        if case .password(let password) = proof, !Self.isAcceptable(password) {
            return .refuse(StandardReplies.badCredentials)
        }
        let credentials = SMTPCredentials(mechanism: self.mechanism, user: user, proof: proof)
        return .ask(.auth, .auth(credentials))
    }

    /// An empty password would be an anonymous login at some servers, and a NUL would end it early.
    private static func isAcceptable(_ octets: [UInt8]) -> Bool {
        (1...SMTPLimits.credentialOctets).contains(octets.count) && !octets.contains(.nul)
    }
}

extension UInt8 {
    /// As RFC 2195 §2 writes a digest: in lower case.
    fileprivate var isHexadecimalDigit: Bool {
        self.isDigit || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(self)
    }
}
