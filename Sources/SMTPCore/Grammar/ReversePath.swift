/// Where a message comes from, and where a bounce goes.
///
/// - Note: RFC 5321 §4.1.1.2.
package enum ReversePath: Hashable, Sendable {
    /// `<>`: a notification, which must not be answered with one. RFC 5321 §4.5.5.
    case null
    case mailbox(Mailbox)

    /// The address without brackets; empty for `<>`.
    package var address: [UInt8] {
        switch self {
        case .null: []
        case .mailbox(let mailbox): mailbox.octets
        }
    }

    /// `nil` for `<>`.
    package var mailbox: Mailbox? {
        switch self {
        case .null: nil
        case .mailbox(let mailbox): mailbox
        }
    }

    /// Parses an address without brackets; the empty one is the null path.
    package init(address: [UInt8], options: PathGrammar.Options = []) throws(PathError) {
        if address.isEmpty {
            self = .null
        } else {
            guard address.count + 2 <= SMTPLimits.pathOctets else { throw .tooLong }
            self = .mailbox(try Mailbox(address: address, options: options))
        }
    }

    init(_ octets: borrowing Span<UInt8>, _ content: PathGrammar.Content) throws(PathError) {
        switch content {
        case .null: self = .null
        case .mailbox(let bounds): self = .mailbox(Mailbox(octets, bounds))
        case .postmaster: throw .syntax
        }
    }
}
