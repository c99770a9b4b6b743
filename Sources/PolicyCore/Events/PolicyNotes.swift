import JSON
import PolicyProtocol

/// What plugins remember, in two scopes, and its JSON, made once until it changes.
package struct PolicyNotes: Equatable {
    /// Largest encoded size of one scope, in octets (protocol/verdicts.md, "Notes").
    static let maximumScopeOctets = 65_536

    private(set) var session = JSONValue.object([:])
    private(set) var transaction = JSONValue.object([:])
    private var sessionText = Self.emptyScope
    private var transactionText = Self.emptyScope

    private static let emptyScope = Array("{}".utf8)
    private static let emptyNotes = Array(#"{"session":{}}"#.utf8)
    private static let emptyNotesOfTransaction = Array(#"{"session":{},"transaction":{}}"#.utf8)

    /// Octets of memory that they hold, about: the text, and values that take some times as much.
    var heldOctets: Int { (self.sessionText.count + self.transactionText.count) * 8 }

    /// The encoded `notes` object of an event.
    func text(hasTransaction: Bool) -> [UInt8] {
        if self.sessionText.count == 2, self.transactionText.count == 2 {
            return hasTransaction ? Self.emptyNotesOfTransaction : Self.emptyNotes
        }
        var writer = JSONWriter()
        writer.beginObject()
        writer.key("session")
        writer.raw(self.sessionText)
        if hasTransaction {
            writer.key("transaction")
            writer.raw(self.transactionText)
        }
        writer.endObject()
        return writer.octets
    }

    /// Applies the merge patches of a verdict (RFC 7396); `nil` leaves a scope alone.
    ///
    /// - Returns: False when a scope would grow past its limit; nothing is changed then.
    mutating func merge(session: JSONValue?, transaction: JSONValue?) -> Bool {
        var copy = self
        if let session {
            copy.session = copy.session.merging(session)
            copy.sessionText = Self.encoded(copy.session)
        }
        if let transaction {
            copy.transaction = copy.transaction.merging(transaction)
            copy.transactionText = Self.encoded(copy.transaction)
        }
        guard copy.sessionText.count <= Self.maximumScopeOctets,
            copy.transactionText.count <= Self.maximumScopeOctets
        else { return false }
        self = copy
        return true
    }

    private static func encoded(_ value: JSONValue) -> [UInt8] {
        var writer = JSONWriter()
        value.encode(into: &writer)
        return writer.octets
    }

    /// Transaction notes die with their transaction.
    mutating func resetTransaction() {
        guard self.transactionText.count > 2 else { return }
        self.transaction = .object([:])
        self.transactionText = Self.emptyScope
    }
}
