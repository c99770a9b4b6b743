public import PolicyKit
import Synchronization

/// A DNS for tests: a function says what a name has.
///
/// ```swift
/// let resolver = TestResolver { name, type in
///     switch (name, type) {
///     case ("example.net", .mx): .records([.mx(10, "mx.example.net")])
///     case ("mx.example.net", .a): .records([.address("192.0.2.1")])
///     case ("slow.example", _): .failure(.timedOut)
///     default: .nxdomain
///     }
/// }
/// let session = try await TestSession([MyPlugin.self], plugins: "my_plugin", resolver: resolver)
/// ```
public final class TestResolver: NameResolver {
    /// A question that was asked.
    public struct Question: Sendable, Hashable {
        /// The name, in lower case.
        public let name: String
        /// The record type.
        public let type: DNSRecordType

        /// A question.
        public init(name: String, type: DNSRecordType) {
            self.name = name
            self.type = type
        }
    }

    private let answer: @Sendable (_ name: String, _ type: DNSRecordType) -> DNSAnswer
    private let log = Mutex<[Question]>([])

    /// A DNS that answers what `answer` returns for a name in lower case and a record type.
    public init(_ answer: @escaping @Sendable (String, DNSRecordType) -> DNSAnswer) {
        self.answer = answer
    }

    /// Every question so far, in the order in which they came.
    public var questions: [Question] { self.log.withLock(\.self) }

    /// Answers at once.
    public func query(
        _ name: DNSName,
        _ type: DNSRecordType,
        deadline: ContinuousClock.Instant?
    ) async -> DNSAnswer {
        self.log.withLock { $0.append(Question(name: name.text, type: type)) }
        return self.answer(name.text, type)
    }
}

extension DNSRecord {
    /// An MX record; one that is unusable if `exchange` is no name.
    public static func mx(_ preference: UInt16, _ exchange: String) -> DNSRecord {
        guard let name = exchange == "." ? .root : DNSName(exchange) else {
            return .mxUnusable(preference: preference)
        }
        return .mx(preference: preference, exchange: name)
    }

    /// An A or AAAA record.
    ///
    /// - Precondition: `address` is the text of an address.
    public static func address(_ address: String) -> DNSRecord {
        guard let address = IPAddress(parsing: address) else {
            preconditionFailure("\(address) is no address")
        }
        return .address(address)
    }

    /// A TXT record.
    public static func text(_ text: String) -> DNSRecord { .text(Array(text.utf8)) }
}
