import Octets

/// Who we are to a next hop that wants a login (RFC 4954).
///
/// Its description, which a log or a failed test may show, has no password.
struct SMTPLogin: Sendable, Equatable, CustomStringConvertible {
    /// The mechanisms that we know, the one that is taken first before the other.
    enum Mechanism: String, CaseIterable, Sendable {
        case plain = "PLAIN"
        case login = "LOGIN"
    }

    /// What is said, line by line; each line but the first answers a 334.
    struct Exchange: Sendable, Equatable {
        let mechanism: Mechanism
        let command: [UInt8]
        var responses: ArraySlice<[UInt8]>
    }

    let user: [UInt8]
    let password: [UInt8]
    /// Whether the password may go over a connection in clear text.
    let isAllowedInClearText: Bool

    var description: String { String(decoding: self.user, as: UTF8.self) }

    /// The exchange for the first of our mechanisms that the hop offers; `nil` if it offers none.
    func exchange(_ offered: Set<String>) -> Exchange? {
        guard let mechanism = Mechanism.allCases.first(where: { offered.contains($0.rawValue) })
        else { return nil }
        let command = "AUTH \(mechanism.rawValue)"
        switch mechanism {
        case .plain:
            let response = Base64.encoded([0] + self.user + [0] + self.password)  // RFC 4616 §2
            let line = Array("\(command) ".utf8) + response + Self.lineEnd
            // A server need not take a command of more octets (RFC 4954 §4.1, RFC 5321 §4.5.3.1.4).
            return line.count <= 512
                ? Exchange(mechanism: mechanism, command: line, responses: [])
                : Exchange(
                    mechanism: mechanism,
                    command: Array(command.utf8) + Self.lineEnd,
                    responses: [response + Self.lineEnd]
                )

        case .login:
            return Exchange(
                mechanism: mechanism,
                command: Array(command.utf8) + Self.lineEnd,
                responses: [
                    Base64.encoded(self.user) + Self.lineEnd,
                    Base64.encoded(self.password) + Self.lineEnd,
                ]
            )
        }
    }

    private static let lineEnd: [UInt8] = [0x0D, 0x0A]
}
