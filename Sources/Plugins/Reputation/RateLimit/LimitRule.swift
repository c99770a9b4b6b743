import PolicyKit

/// A rule of `limits`: `recipients per user 500/1d`.
struct LimitRule: Sendable {
    /// What is counted.
    enum Subject: String, Sendable, CaseIterable {
        case connections
        case messages
        case recipients
        case errors
    }

    /// What it is counted for.
    enum Key: String, Sendable, CaseIterable {
        case all
        case client
        case network
        case asn
        case helo
        case user
        case sender
        case senderDomain = "sender_domain"
        case recipient
        case recipientDomain = "recipient_domain"

        /// Whether it is known at `connect` already.
        var isKnownAtConnect: Bool {
            switch self {
            case .all, .client, .network, .asn: true
            default: false
            }
        }

        fileprivate var isOfEnvelope: Bool {
            switch self {
            case .sender, .senderDomain, .recipient, .recipientDomain: true
            default: false
            }
        }

        fileprivate var isOfRecipient: Bool { self == .recipient || self == .recipientDomain }
    }

    private static let longest: Int64 = 86_400 * 31

    let subject: Subject
    /// In the order of ``Key``, each once.
    let keys: [Key]
    /// How many are allowed in ``window``.
    let count: Int
    /// In seconds.
    let window: Int64
    /// How many may come at once, where that is less than ``count``; `nil`: all of them.
    let burst: Int?
    /// The reply's text; `nil`: the plugin's own.
    let text: String?
    /// The rule as it was written, without its text.
    let description: String

    /// Reads `WHAT per KEY[,KEY…] N/TIME [burst N] [text]`.
    ///
    /// - Throws: What is wrong with it, for the operator.
    init(words: [String]) throws(PluginError) {
        guard words.count >= 4, words[1].lowercased() == "per" else {
            throw PluginError(
                "\(words.joined(separator: " ")) is no rule; write it as recipients per client 100/1h"
            )
        }
        guard let subject = Subject(rawValue: words[0].lowercased()) else {
            let names = Subject.allCases.map(\.rawValue).joined(separator: ", ")
            throw PluginError("\(words[0]) cannot be limited; \(names) can")
        }
        var keys: Set<Key> = []
        for name in words[2].split(separator: ",") {
            guard let key = Key(rawValue: name.lowercased()) else {
                let names = Key.allCases.map(\.rawValue).joined(separator: ", ")
                throw PluginError("per \(name) is unknown; it is one or several of \(names)")
            }
            keys.insert(key)
        }
        let rate = words[3].split(separator: "/", maxSplits: 1).map { String($0) }
        guard rate.count == 2, let count = Int(rate[0]), (1...1_000_000).contains(count),
            let window = Self.seconds(rate[1])
        else {
            throw PluginError(
                "\(words[3]) is no rate; write a number from 1 to 1000000, / and a time up to 31d: 100/1h"
            )
        }
        var rest = words.dropFirst(4)
        var burst: Int?
        if rest.first?.lowercased() == "burst" {
            guard let number = rest.dropFirst().first.flatMap({ Int($0) }),
                (1...count).contains(number)
            else { throw PluginError("burst must be followed by a number from 1 to \(count)") }
            burst = number
            rest = rest.dropFirst(2)
        }
        self.subject = subject
        self.keys = Key.allCases.filter { keys.contains($0) }
        self.count = count
        self.window = window
        self.burst = burst
        self.text = rest.isEmpty ? nil : rest.joined(separator: " ")
        self.description = words[..<(words.count - rest.count)].joined(separator: " ")
        try self.check()
    }

    private func check() throws(PluginError) {
        guard let first = self.keys.first else { throw PluginError("per what is missing") }
        if first == .all, self.keys.count > 1 {
            throw PluginError("per all stands alone: it counts everything together")
        }
        switch self.subject {
        case .connections:
            if let key = self.keys.first(where: { !$0.isKnownAtConnect }) {
                throw PluginError(
                    "connections per \(key.rawValue): a client that connects has said nothing yet; "
                        + "all, client, network and asn are known"
                )
            }
        case .messages:
            if let key = self.keys.first(where: \.isOfRecipient) {
                throw PluginError(
                    "messages per \(key.rawValue): a message has many; write recipients per \(key.rawValue)"
                )
            }
        case .errors:
            if let key = self.keys.first(where: \.isOfEnvelope) {
                throw PluginError(
                    "errors per \(key.rawValue): errors are of a session, not of a message"
                )
            }
            if self.burst != nil {
                throw PluginError("errors have no burst")
            }
        case .recipients: break
        }
    }

    /// The seconds of `10m`, `1h`, `1d`, `60`, `30s`, `hour`; `nil` if it is none of them, 0 or too long.
    private static func seconds(_ text: String) -> Int64? {
        let words = [
            "second": Int64(1), "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800,
        ]
        if let value = words[text.lowercased()] { return value }
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let units = ["": Int64(1), "s": 1, "m": 60, "h": 3_600, "d": 86_400]
        guard let number = Int64(digits), number > 0, number <= Self.longest,
            let unit = units[text.dropFirst(digits.count).lowercased()]
        else { return nil }
        let value = number * unit
        return value <= Self.longest ? value : nil
    }

    /// What a bucket of a rule with `burst` becomes when one more comes.
    ///
    /// The value is the time, in Unix microseconds, at which the bucket is empty; each that comes fills it for
    /// ``window`` / ``count``, and it holds ``burst`` of them.
    ///
    /// - Returns: `nil` if one more does not fit.
    func fill(_ emptyAt: Int64?, at now: Int64) -> Int64? {
        let each = self.window * 1_000_000 / Int64(self.count)
        // A time beyond what the bucket holds is of another clock, or of a larger bucket.
        let start = min(max(emptyAt ?? now, now), now + each * Int64(self.burst ?? self.count))
        let filled = start + each
        return filled - now <= each * Int64(self.burst ?? self.count) ? filled : nil
    }
}
