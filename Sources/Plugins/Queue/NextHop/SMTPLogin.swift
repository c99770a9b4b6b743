import Octets
import PolicyKit

/// Our account at a next hop that wants a login (RFC 4954).
///
/// Its description, which a log or a failed test may show, has no password.
struct SMTPLogin: Sendable, Equatable, CustomStringConvertible {
    /// The mechanisms that we know.
    enum Mechanism: String, Sendable {
        case plain = "PLAIN"
        case login = "LOGIN"
        case cramMD5 = "CRAM-MD5"

        /// The one that is taken first stands first: CRAM-MD5 hides the password where TLS does not.
        static func preferred(isEncrypted: Bool) -> [Self] {
            isEncrypted ? [.plain, .login, .cramMD5] : [.cramMD5, .plain, .login]
        }
    }

    /// What is said, line by line; each line but the first answers a 334.
    struct Exchange: Sendable {
        fileprivate enum Response: Sendable {
            case octets([UInt8])
            /// What CRAM-MD5 makes of the challenge.
            case digest(SMTPLogin)
        }

        let mechanism: Mechanism
        let command: [UInt8]
        fileprivate var responses: ArraySlice<Response>

        /// The line that answers a 334; `nil` if there is nothing left to say, or no challenge in it.
        mutating func response(to challenge: SMTPServerReply) -> [UInt8]? {
            switch self.responses.popFirst() {
            case nil:
                return nil

            case .octets(let octets)?:
                return Base64.encoded(octets) + SMTPLogin.lineEnd

            case .digest(let login)?:
                guard let octets = Base64.decode(challenge.lines.first ?? []), !octets.isEmpty
                else {
                    return nil
                }
                return Base64.encoded(login.digest(of: octets)) + SMTPLogin.lineEnd
            }
        }
    }

    let user: [UInt8]
    let password: [UInt8]
    /// Whether the password may go over a connection in clear text.
    let isAllowedInClearText: Bool

    var description: String { String(decoding: self.user, as: UTF8.self) }

    /// The exchange for one of our mechanisms that the hop offers; `nil` if it offers none.
    func exchange(_ offered: Set<String>, isEncrypted: Bool) -> Exchange? {
        let preferred = Mechanism.preferred(isEncrypted: isEncrypted)
        guard let mechanism = preferred.first(where: { offered.contains($0.rawValue) }) else {
            return nil
        }
        let command = Array("AUTH \(mechanism.rawValue)".utf8)
        let responses: [Exchange.Response]
        switch mechanism {
        case .plain:
            let response = [0] + self.user + [0] + self.password  // RFC 4616 §2
            let line = command + [0x20] + Base64.encoded(response) + Self.lineEnd
            // A server need not take a command of more octets (RFC 4954 §4, RFC 5321 §4.5.3.1.4).
            guard line.count > 512 else {
                return Exchange(mechanism: mechanism, command: line, responses: [])
            }
            responses = [.octets(response)]

        case .login:
            responses = [.octets(self.user), .octets(self.password)]

        case .cramMD5:
            responses = [.digest(self)]
        }
        return Exchange(
            mechanism: mechanism,
            command: command + Self.lineEnd,
            responses: responses[...]
        )
    }

    /// RFC 2195 §2.
    private func digest(of challenge: [UInt8]) -> [UInt8] {
        let hexadecimal = Array("0123456789abcdef".utf8)
        let code = MD5.authenticationCode(of: challenge, key: self.password)
        let digits = code.flatMap { [hexadecimal[Int($0 >> 4)], hexadecimal[Int($0 & 15)]] }
        return self.user + [0x20] + digits
    }

    private static let lineEnd: [UInt8] = [0x0D, 0x0A]
}
