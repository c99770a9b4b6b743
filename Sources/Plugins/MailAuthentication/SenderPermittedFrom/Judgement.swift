import PolicyKit
import SPF

/// What a result of SPF means for a message: from which level on it is refused, and how.
struct Judgement {
    /// The values of the argument `reject`; each refuses what those before it refuse as well.
    static let levels = 0...6
    /// From here on there is a field Received-SPF.
    static let annotates = 1
    private static let defersErrors = 2
    private static let refusesFail = 3
    private static let refusesSoftfail = 4
    private static let refusesNeutral = 5
    private static let refusesAllButPass = 6

    let result: SPFResult
    /// `nil`: it is never refused.
    let leastLevel: Int?
    /// The reply's lines, separated by LF.
    let text: String
    /// The enhanced status code without its class (RFC 7372 §3.2).
    let detail: String

    /// The judgement about what was found.
    ///
    /// - Parameters:
    ///   - finding: What was found.
    ///   - isHelo: Whether the client's name was asked about, and not the sender.
    ///   - client: The client's address.
    init(_ finding: SPFFinding, isHelo: Bool, client: String) {
        self.init(
            finding.result,
            finding.domain,
            isHelo: isHelo,
            client: client,
            problem: finding.problem,
            explanation: finding.explanation
        )
    }

    /// The judgement about the note `spf`; `nil` if it is none of ours.
    init?(_ note: JSONValue, client: String) {
        guard case .string(let word)? = note["result"], let result = SPFResult(rawValue: word),
            case .string(let domain)? = note["domain"]
        else { return nil }
        self.init(
            result,
            domain,
            isHelo: note["identity"] == .string("helo"),
            client: client,
            problem: nil,
            explanation: nil
        )
    }

    private init(
        _ result: SPFResult,
        _ domain: String,
        isHelo: Bool,
        client: String,
        problem: String?,
        explanation: String?
    ) {
        self.result = result
        self.detail = result == .permerror || result == .temperror ? "7.24" : "7.23"
        switch result {
        case .pass:
            self.leastLevel = nil
            self.text = domain

        case .fail:
            self.leastLevel = Self.refusesFail
            let act = isHelo ? "call itself \(domain)" : "send mail for \(domain)"
            let words = explanation.map { $0.isEmpty ? "" : "\n\(domain) says: \($0)" } ?? ""
            self.text = "\(client) is not allowed to \(act) (SPF)\(words)"

        case .softfail:
            self.leastLevel = Self.refusesSoftfail
            self.text = "\(domain) does not expect mail from \(client) (SPF softfail)"

        case .neutral:
            // A bounce must not be refused because its server has no policy for its own name.
            self.leastLevel = isHelo ? nil : Self.refusesNeutral
            self.text = "\(domain) does not vouch for \(client) (SPF neutral)"

        case .none:
            self.leastLevel = isHelo ? nil : Self.refusesAllButPass
            self.text = "\(domain) has no SPF record"

        case .permerror:
            self.leastLevel = Self.refusesAllButPass
            let reason = problem.map { ": \($0)" } ?? ""
            self.text = "The SPF record of \(domain) cannot be used\(reason)"

        case .temperror:
            self.leastLevel = Self.defersErrors
            self.text = "Could not look up the SPF record of \(domain), try again later"
        }
    }
}
