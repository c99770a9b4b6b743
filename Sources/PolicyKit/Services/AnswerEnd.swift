/// How a client knows that a server's answer is complete.
///
/// ```swift
/// .close                       // spamd: the server closes the connection
/// .octets([0x0A])              // a line
/// .length { answer in … }      // HTTP: the header says how long it is
/// ```
public struct AnswerEnd: Sendable {
    enum Rule: Sendable {
        case close
        case octets([UInt8])
        case length(@Sendable ([UInt8]) throws -> Int?)
    }

    let rule: Rule

    /// The server closes the connection after its answer, so no connection is kept.
    public static let close = Self(rule: .close)

    /// The answer ends with the first `mark` in it.
    ///
    /// The mark belongs to the answer. It has at least one octet: an empty one is found at once.
    public static func octets(_ mark: [UInt8]) -> Self { Self(rule: .octets(mark)) }

    /// The answer itself says how long it is.
    ///
    /// `find` gets all octets that have come so far, and returns how many octets the whole answer has,
    /// or `nil` as long as they do not say it. It is called each time octets come, and never again once
    /// it has returned a length. What it throws, the exchange throws.
    public static func length(_ find: @escaping @Sendable ([UInt8]) throws -> Int?) -> Self {
        Self(rule: .length(find))
    }

    /// Whether the connection can take another request after the answer.
    var keepsConnection: Bool {
        if case .close = self.rule { false } else { true }
    }
}

/// Collects an answer, octets at a time.
struct AnswerReader {
    private let end: AnswerEnd
    private let limit: Int
    /// What has come so far.
    private(set) var octets: [UInt8] = []
    /// How many octets were searched for the mark.
    private var searched = 0
    /// How many octets the answer has, once that is known.
    private var length: Int?

    /// A reader of one answer of at most `limit` octets.
    init(_ end: AnswerEnd, limit: Int) {
        self.end = end
        self.limit = limit
    }

    /// Whether the connection can take another request: its answer is over, and nothing follows.
    var isAtEnd: Bool { self.end.keepsConnection && self.octets.count == self.length }

    /// Takes what has come.
    ///
    /// - Returns: The answer, if it is complete.
    /// - Throws: ``ExchangeError`` with `.tooLong`, or what the search for the length throws.
    mutating func append(_ arrived: some Collection<UInt8>) throws -> [UInt8]? {
        guard arrived.count <= self.limit - self.octets.count else { throw self.tooLong }
        self.octets += arrived
        if self.length == nil { self.length = try self.findLength() }
        guard let length = self.length else { return nil }
        guard length <= self.limit else { throw self.tooLong }
        return length <= self.octets.count ? Array(self.octets[..<max(length, 0)]) : nil
    }

    /// The connection has ended.
    ///
    /// - Returns: The answer, if that was its end.
    func finish() -> [UInt8]? {
        self.end.keepsConnection || self.octets.isEmpty ? nil : self.octets
    }

    private var tooLong: ExchangeError {
        ExchangeError(.tooLong, "the answer has more than \(self.limit) octets")
    }

    private mutating func findLength() throws -> Int? {
        switch self.end.rule {
        case .close:
            return nil
        case .length(let find):
            return try find(self.octets)
        case .octets(let mark):
            let last = self.octets.count - mark.count
            while self.searched <= last {
                if self.octets[self.searched...].starts(with: mark) {
                    return self.searched + mark.count
                }
                self.searched += 1
            }
            return nil
        }
    }
}
