import PolicyKit
import SCRAM

// SCRAM-SHA-256: two messages that prove the password, and an empty one behind our own proof.
extension AuthFlatFile {
    /// What comes back with the client's last message once it has proved the password.
    private static let proved: Bytes = "proved"

    func step(_ event: AuthEvent, _ message: LoginMessage) -> Answer {
        let isPlus = event.mechanism == "SCRAM-SHA-256-PLUS"
        guard isPlus || event.mechanism == "SCRAM-SHA-256" else {
            return event.skip("\(event.mechanism) is not checked here")
        }
        guard let user = FlatPasswords.name(event.user) else {
            event.info("SASLprep prohibits the user's name")
            return .declined
        }
        let users = event.value(of: self.users)
        var known: SCRAMKeys?
        if case .scram(let keys)? = users.entry(of: user)?.secret { known = keys }
        guard let keys = known ?? users.scramStandIn(for: user) else {
            return event.skip("flat_auth_pw has no keys for SCRAM")
        }
        let exchange = SCRAMExchange(isPlus: isPlus, endPoint: event.serverEndPoint?.octets)
        do throws(SCRAMExchange.Refusal) {
            switch message.step {
            case 1:
                let (challenge, state) = try exchange.first(
                    message.octets.octets,
                    keys,
                    nonce: Self.newNonce()
                )
                return event.challenge(Bytes(octets: challenge), state: Bytes(octets: state))
            case 2:
                let state = message.state?.octets ?? []
                let proof = try exchange.final(message.octets.octets, state: state, keys)
                guard known != nil else { return event.skip("no such user") }
                return event.challenge(Bytes(octets: proof), state: Self.proved)
            default:
                guard known != nil, message.state == Self.proved, message.octets.octets.isEmpty
                else { throw .malformed }
                event.pass("\(event.user)")
                return .ok
            }
        } catch {
            // Of an unknown user nothing is logged: it may be a password in the wrong place.
            guard known != nil else { return event.skip("no such user") }
            event.info("\(error.rawValue) for \(event.user)")
            return .deny
        }
    }

    private static func newNonce() -> [UInt8] {
        var random = SystemRandomNumberGenerator()
        return (0..<SCRAMExchange.nonceOctets).map { _ in .random(in: .min ... .max, using: &random)
        }
    }
}
