import Octets
import PolicyKit

/// One login at an IMAP server (RFC 3501), without I/O: lines in, what to do out.
///
/// It asks for the server's capabilities and says AUTHENTICATE PLAIN (RFC 4616). What the server says besides is
/// skipped.
struct IMAPLogin {
    enum Action: Equatable {
        case send([UInt8])
        /// Encrypt the connection, then tell ``encrypted()``. Octets that have come already are an attack.
        case startTLS
        case end(Answer)
    }

    enum Answer: Equatable, Sendable {
        case letIn
        case refused
        /// The server cannot tell now, or is none; the text says why.
        case putOff(String)
    }

    private enum State {
        case greeting, startTLS, handshake, capability, authenticate, result, over
    }

    /// The longest line of the server, its end not counted.
    static let maximumLineOctets = 8_192
    /// The response codes of RFC 5530 that say nothing about user and password.
    private static let temporaryCodes = ["[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]"]

    private let proof: [UInt8]
    private let usesStartTLS: Bool
    private var state = State.greeting
    private var offersPlain = false

    init(user: Bytes, password: Bytes, usesStartTLS: Bool) {
        self.proof = Base64.encoded([0] + user.octets + [0] + password.octets)
        self.usesStartTLS = usesStartTLS
    }

    /// Takes a line without its end.
    mutating func receive(_ line: [UInt8]) -> Action? {
        let words = Self.words(line)
        let isBye = words.count >= 2 && words[0] == "*" && words[1] == "BYE"
        if isBye, self.state != .over { return self.end(.putOff("the server says goodbye")) }
        switch self.state {
        case .greeting: return self.greeted(words)
        case .startTLS: return self.answered("t", words) { $0.agreedToTLS(isOK: $1 == "OK") }
        case .handshake: return self.end(.putOff("the server spoke before the handshake"))
        case .capability:
            if words.starts(with: ["*", "CAPABILITY"]) {
                self.offersPlain = words.contains("AUTH=PLAIN")
            }
            return self.answered("c", words) { $0.knowsCapabilities(isOK: $1 == "OK") }

        case .authenticate:
            if words.first == "+" {
                self.state = .result
                return .send(self.proof + Array("\r\n".utf8))
            }
            return self.answered("a", words) { $0.end($0.answer($1, words)) }

        case .result:
            if words.first == "+" { return self.end(.putOff("the server wants more of a login")) }
            return self.answered("a", words) { $0.end($0.answer($1, words)) }

        case .over: return nil
        }
    }

    /// The handshake is over.
    mutating func encrypted() -> Action? {
        guard self.state == .handshake else { return nil }
        return self.askCapabilities()
    }

    private mutating func greeted(_ words: [String]) -> Action {
        guard words.starts(with: ["*", "OK"]) else {
            return self.end(.putOff("the server did not greet as IMAP does"))
        }
        guard self.usesStartTLS else { return self.askCapabilities() }
        self.state = .startTLS
        return .send(Array("t STARTTLS\r\n".utf8))
    }

    private mutating func agreedToTLS(isOK: Bool) -> Action {
        guard isOK else { return self.end(.putOff("the server does not take STARTTLS")) }
        self.state = .handshake
        return .startTLS
    }

    private mutating func askCapabilities() -> Action {
        self.state = .capability
        return .send(Array("c CAPABILITY\r\n".utf8))
    }

    private mutating func knowsCapabilities(isOK: Bool) -> Action {
        guard isOK, self.offersPlain else {
            return self.end(.putOff("the server does not offer AUTH=PLAIN here"))
        }
        self.state = .authenticate
        return .send(Array("a AUTHENTICATE PLAIN\r\n".utf8))
    }

    /// The tagged line that ends a command, with its second word; other lines are skipped.
    private mutating func answered(
        _ tag: String,
        _ words: [String],
        _ then: (inout Self, String) -> Action
    ) -> Action? {
        guard words.count >= 2, words[0] == tag.uppercased() else { return nil }
        return then(&self, words[1])
    }

    private func answer(_ word: String, _ words: [String]) -> Answer {
        switch word {
        // Before the password was sent there is nothing that could be right.
        case "OK" where self.state == .result: return .letIn
        case "NO":
            let isTemporary = words.count >= 3 && Self.temporaryCodes.contains(words[2])
            return isTemporary ? .putOff("the server says \(words[2])") : .refused

        default: return .putOff("the server answered \(word)")
        }
    }

    private mutating func end(_ answer: Answer) -> Action {
        self.state = .over
        return .end(answer)
    }

    /// The line's words, ASCII in capitals.
    private static func words(_ line: [UInt8]) -> [String] {
        line.split(separator: 0x20).map {
            Bytes(octets: Array($0.prefix(100))).description.uppercased()
        }
    }
}
