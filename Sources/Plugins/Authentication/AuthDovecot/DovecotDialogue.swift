import Octets
import PolicyKit

/// One connection of Dovecot's authentication protocol, version 1, seen from the client, without I/O: lines in,
/// what they mean out.
///
/// The server says VERSION, MECH for each mechanism, SPID and DONE; what it says besides is skipped. Then each
/// AUTH of ours, which has a number, gets one OK, FAIL or CONT with that number, in any order.
struct DovecotDialogue {
    /// What a line means.
    enum Event: Equatable {
        /// Requests may be sent now.
        case ready
        case answer(request: UInt32, DovecotAnswer)
        case nothing
    }

    /// Why the connection is of no use.
    enum Refusal: Error, Equatable, CustomStringConvertible {
        case version(String)
        case noPlain
        /// The socket of another protocol of Dovecot's.
        case otherSocket
        case malformed(String)

        var description: String {
            switch self {
            case .version(let text): "the server speaks version \(text) of the protocol, not 1"
            case .noPlain:
                "the server does not offer PLAIN: see auth_mechanisms in Dovecot's configuration"
            case .otherSocket:
                "this is another socket of Dovecot's: name that of an auth client, as in "
                    + "unix_listener auth-client { }"
            case .malformed(let line): "the server said \(line), which makes no sense here"
            }
        }
    }

    /// The longest line either side may send, its end not counted.
    static let maximumLineOctets = 8_192

    private(set) var isReady = false
    private var hasVersion = false
    private var mechanisms: Set<String> = []

    /// What is sent at once after connecting; `process` is a number that no other open connection to the server
    /// has.
    static func hello(process: UInt32) -> [UInt8] {
        Array("VERSION\t1\t1\nCPID\t\(process)\n".utf8)
    }

    /// Takes a line without its end.
    ///
    /// - Throws: ``Refusal``; the connection is to be closed then.
    mutating func receive(_ line: [UInt8]) throws(Refusal) -> Event {
        let fields = line.split(separator: 0x09, omittingEmptySubsequences: false).map(
            Self.unescaped
        )
        let word = Self.text(fields.first ?? [])
        guard !self.isReady else { return try self.answer(word, fields) }
        switch word {
        case "VERSION":
            guard fields.count >= 2, fields[1] == [0x31] else {
                throw .version(fields.count >= 2 ? Self.text(fields[1]) : "?")
            }
            self.hasVersion = true

        case "MECH":
            if fields.count >= 2 { self.mechanisms.insert(Self.text(fields[1])) }

        case "SPID":
            guard !self.mechanisms.isEmpty else { throw .otherSocket }

        case "DONE":
            guard self.hasVersion else { throw .malformed("DONE before VERSION") }
            guard self.mechanisms.contains("PLAIN") else { throw .noPlain }
            self.isReady = true
            return .ready

        case "OK", "FAIL", "CONT":
            throw .malformed("\(word) before DONE")

        default: break
        }
        return .nothing
    }

    private func answer(_ word: String, _ fields: [[UInt8]]) throws(Refusal) -> Event {
        guard ["OK", "FAIL", "CONT"].contains(word) else { return .nothing }
        guard fields.count >= 2, let request = UInt32(Self.text(fields[1])) else {
            throw .malformed("\(word) without a number")
        }
        let parameters = fields.dropFirst(2)
        switch word {
        case "OK":
            let user = parameters.first { $0.starts(with: "user=".utf8) }.map {
                Array($0.dropFirst(5))
            }
            return .answer(request: request, .letIn(user: user.map { Bytes(octets: $0) }))

        case "FAIL":
            let isTemporary = parameters.contains {
                $0.elementsEqual("temp".utf8) || $0.elementsEqual("code=temp_fail".utf8)
            }
            return .answer(request: request, isTemporary ? .putOff : .refused)

        default:
            // All of PLAIN is in the request: there is nothing to go on with.
            return .answer(request: request, .outOfStep)
        }
    }

    private static func text(_ octets: [UInt8]) -> String {
        Bytes(octets: Array(octets.prefix(100))).description
    }

    /// Octets that would end a field or a line stand as 1 and a letter.
    static func escaped(_ octets: [UInt8]) -> [UInt8] {
        octets.flatMap { octet -> [UInt8] in
            switch octet {
            case 0x00: [1, UInt8(ascii: "0")]
            case 0x01: [1, UInt8(ascii: "1")]
            case 0x09: [1, UInt8(ascii: "t")]
            case 0x0a: [1, UInt8(ascii: "n")]
            case 0x0d: [1, UInt8(ascii: "r")]
            default: [octet]
            }
        }
    }

    static func unescaped(_ octets: ArraySlice<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        var rest = octets
        while let octet = rest.popFirst() {
            guard octet == 1, let letter = rest.popFirst() else {
                result.append(octet)
                continue
            }
            switch letter {
            case UInt8(ascii: "0"): result.append(0x00)
            case UInt8(ascii: "1"): result.append(0x01)
            case UInt8(ascii: "t"): result.append(0x09)
            case UInt8(ascii: "n"): result.append(0x0a)
            case UInt8(ascii: "r"): result.append(0x0d)
            default: result.append(letter)
            }
        }
        return result
    }
}

/// What Dovecot says to a login.
enum DovecotAnswer: Equatable, Sendable {
    /// The name is Dovecot's own for the user, if it said one.
    case letIn(user: Bytes?)
    case refused
    /// Its users are somewhere that does not answer.
    case putOff
    /// An answer that does not fit the question.
    case outOfStep
}

/// What Dovecot is asked about a login.
struct DovecotRequest: Sendable {
    let user: Bytes
    let password: Bytes
    let client: SessionSnapshot.Endpoint
    let server: SessionSnapshot.Endpoint
    let isEncrypted: Bool

    /// The line, its end included; `nil` if it is longer than Dovecot reads.
    ///
    /// The mechanism is PLAIN (RFC 4616), for LOGIN as well. `resp` has to be the last field.
    func line(number: UInt32) -> [UInt8]? {
        var fields = [
            "AUTH", "\(number)", "PLAIN", "service=smtp", "nologin", "lip=\(self.server.ip)",
            "rip=\(self.client.ip)", "lport=\(self.server.port)", "rport=\(self.client.port)",
        ].map { DovecotDialogue.escaped(Array($0.utf8)) }
        if self.isEncrypted { fields.append(Array("secured".utf8)) }
        let message = [0] + self.user.octets + [0] + self.password.octets
        fields.append(Array("resp=".utf8) + Base64.encoded(message))
        let line = Array(fields.joined(separator: [0x09]))
        return line.count <= DovecotDialogue.maximumLineOctets ? line + [0x0a] : nil
    }
}
