import Octets
import PolicyKit
import SPF

/// The value of a Received-SPF field (RFC 7208 §9.1).
struct ReceivedSPF {
    let finding: SPFFinding
    /// Whether the client's name was asked about, and not the sender.
    let isHelo: Bool
    let client: IPAddress
    let sender: Bytes
    let hello: Bytes
    let receiver: String
    /// Whether the message may have octets above 127 in its header.
    let allows8Bit: Bool

    var value: String {
        var pairs = [
            ("client-ip", self.word(Array(self.client.description.utf8))),
            (
                "envelope-from",
                ResultText.quoted(self.sender.octets, self.allows8Bit)
            ),
            ("helo", self.word(self.hello.octets)),
            ("receiver", self.word(Array(self.receiver.utf8))),
            ("identity", self.isHelo ? "helo" : "mailfrom"),
        ]
        if let mechanism = self.finding.mechanism {
            pairs.append(("mechanism", self.word(Array(mechanism.utf8))))
        }
        if let problem = self.finding.problem {
            pairs.append(("problem", ResultText.quoted(problem.utf8)))
        }
        let list = pairs.map { "\($0)=\($1)" }.joined(separator: ";\r\n\t")
        let comment = ResultText.comment("\(self.receiver): \(self.reason)".utf8)
        return "\(self.finding.result.rawValue) (\(comment))\r\n\t\(list);"
    }

    private var reason: String {
        let domain = self.finding.domain
        return switch self.finding.result {
        case .pass: "\(domain) designates \(self.client) as permitted sender"
        case .fail: "\(domain) does not designate \(self.client) as permitted sender"
        case .softfail: "\(domain) does not expect mail from \(self.client)"
        case .neutral: "\(self.client) is neither permitted nor denied by \(domain)"
        case .none: "\(domain) does not designate permitted senders"
        case .temperror: "\(domain) could not be looked up"
        case .permerror: "the SPF record of \(domain) cannot be used"
        }
    }

    /// `dot-atom / quoted-string`.
    private func word(_ octets: [UInt8]) -> String {
        let labels = octets.split(separator: .dot, omittingEmptySubsequences: false)
        let isAtom = labels.allSatisfy { label in
            !label.isEmpty
                && label.allSatisfy {
                    $0.isLetterOrDigit || "!#$%&'*+-/=?^_`{|}~".utf8.contains($0)
                }
        }
        return isAtom
            ? String(decoding: octets, as: UTF8.self) : ResultText.quoted(octets, self.allows8Bit)
    }
}
