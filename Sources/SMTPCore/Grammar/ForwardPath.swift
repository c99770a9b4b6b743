import Octets

/// Where a message is to go.
///
/// - Note: RFC 5321 §4.1.1.3.
package enum ForwardPath: Hashable, Sendable {
    /// `<Postmaster>` without a domain, as the client spelled it. RFC 5321 §4.5.1.
    case postmaster([UInt8])
    case mailbox(Mailbox)

    /// The address without brackets.
    package var address: [UInt8] {
        switch self {
        case .postmaster(let octets): octets
        case .mailbox(let mailbox): mailbox.octets
        }
    }

    /// As written, with its quotes.
    package var localPart: ArraySlice<UInt8> {
        switch self {
        case .postmaster(let octets): octets[...]
        case .mailbox(let mailbox): mailbox.localPart
        }
    }

    /// As written; empty for a bare postmaster.
    package var domain: ArraySlice<UInt8> {
        switch self {
        case .postmaster: []
        case .mailbox(let mailbox): mailbox.domain
        }
    }

    /// Whether SMTPUTF8 is needed to carry it.
    package var isNonASCII: Bool {
        switch self {
        case .postmaster: false
        case .mailbox(let mailbox): mailbox.isNonASCII
        }
    }

    /// Parses an address without brackets: a mailbox, or the word postmaster.
    package init(address: [UInt8], options: PathGrammar.Options = []) throws(PathError) {
        if address.span.equals("POSTMASTER", in: 0..<address.count) {
            self = .postmaster(address)
        } else {
            guard address.count + 2 <= SMTPLimits.pathOctets else { throw .tooLong }
            self = .mailbox(try Mailbox(address: address, options: options))
        }
    }

    init(_ octets: borrowing Span<UInt8>, _ content: PathGrammar.Content) throws(PathError) {
        switch content {
        case .null: throw .syntax
        case .postmaster(let range): self = .postmaster(octets.octets(range))
        case .mailbox(let bounds): self = .mailbox(Mailbox(octets, bounds))
        }
    }
}
