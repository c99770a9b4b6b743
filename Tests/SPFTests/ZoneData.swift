import Addresses
import SPF

/// A DNS in memory, for evaluations.
struct ZoneData {
    enum Record {
        case text([UInt8])
        case address(IPAddress)
        case exchange([UInt8])
        case pointer([UInt8])
        case alias([UInt8])
        /// Types that the name does not have are never answered.
        case timeout
    }

    private var records: [[UInt8]: [Record]] = [:]

    init() {}

    init(_ records: [(String, Record)]) {
        for (name, record) in records { self.add(record, to: Array(name.utf8)) }
    }

    private static func key(_ name: [UInt8]) -> [UInt8] {
        let key = name.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        return key.last == 0x2E ? key.dropLast() : key
    }

    mutating func add(_ record: Record, to name: [UInt8]) {
        self.records[Self.key(name), default: []].append(record)
    }

    func answer(_ question: SPFQuestion) -> SPFAnswer {
        var name = question.name
        for _ in 0..<8 {
            let all = self.records[Self.key(name)] ?? []
            var texts: [[UInt8]] = []
            var addresses: [IPAddress] = []
            var names: [[UInt8]] = []
            for record in all {
                switch (record, question.kind) {
                case (.text(let text), .txt): texts.append(text)
                case (.address(let address), .a) where !address.isIPv6: addresses.append(address)
                case (.address(let address), .aaaa) where address.isIPv6: addresses.append(address)
                case (.exchange(let host), .mx), (.pointer(let host), .ptr): names.append(host)
                default: break
                }
            }
            if !texts.isEmpty { return .texts(texts) }
            if !addresses.isEmpty { return .addresses(addresses) }
            if !names.isEmpty { return .names(names) }
            for case .timeout in all { return .failure("timed out") }
            var alias: [UInt8]?
            for case .alias(let target) in all { alias = target }
            guard let alias else { return .nothing }
            name = alias
        }
        return .failure("a loop of aliases")
    }

    /// Runs an evaluation; `nil` if it does not end.
    func evaluate(_ identity: SPFIdentity) -> (finding: SPFFinding, questions: [SPFQuestion])? {
        var evaluation = SPFEvaluation(identity)
        var step = evaluation.start()
        var questions: [SPFQuestion] = []
        for _ in 0..<100 {
            switch step {
            case .done(let finding): return (finding, questions)
            case .ask(let asked):
                questions += asked
                step = evaluation.answered(asked.map { self.answer($0) })
            }
        }
        return nil
    }

    /// What a policy of `example.org` says about a client.
    func result(
        _ client: String = "192.0.2.1",
        sender: String = "bob@example.org",
        hello: String = "mail.example.org"
    ) -> SPFFinding? {
        guard let client = IPAddress(parsing: client) else { return nil }
        let identity = SPFIdentity(
            client: client,
            hello: Array(hello.utf8),
            sender: Array(sender.utf8),
            receiver: Array("mx.example.com".utf8),
            seconds: 1_700_000_000
        )
        return self.evaluate(identity)?.finding
    }
}

extension ZoneData.Record {
    static func txt(_ text: String) -> Self { .text(Array(text.utf8)) }
    static func a(_ text: String) -> Self {
        IPAddress(parsing: text).map { .address($0) } ?? .timeout
    }
    static func mx(_ name: String) -> Self { .exchange(Array(name.utf8)) }
    static func ptr(_ name: String) -> Self { .pointer(Array(name.utf8)) }
}
