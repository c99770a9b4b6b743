import DomainNames
import PolicyKit

/// A recipient of which a server, a program or a directory is asked.
struct AskedRecipient: Sendable, Equatable {
    /// The forward-path without its brackets.
    let address: [UInt8]
    /// The local part, without the quotes it may have.
    let local: [UInt8]
    let domain: [UInt8]

    init(address: [UInt8], local: [UInt8], domain: [UInt8]) {
        self.address = address
        self.local = local
        self.domain = domain
    }

    init(_ recipient: Recipient) {
        self.init(
            address: recipient.address.octets,
            local: recipient.local.octets,
            domain: recipient.domain.octets
        )
    }

    /// A recipient that does not exist, unless the server accepts every recipient of the domain.
    init(inventedFor domain: [UInt8]) {
        let letters = (0..<20).map { _ in UInt8.random(in: 0x61...0x7A) }
        self.init(address: letters + [0x40] + domain, local: letters, domain: domain)
    }

    /// Whether it is UTF-8 without control octets, as each address of SMTP is (RFC 6531 §3.3).
    var isText: Bool {
        self.address.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
            && String(validating: self.address, as: UTF8.self) != nil
    }

    /// What it is called in the store: the domain in one spelling, the local part as it came, because only its
    /// own server knows whether case counts there (RFC 5321 §2.4).
    var key: [UInt8] {
        guard let at = self.address.lastIndex(of: 0x40) else { return self.address }
        return self.address[...at] + DomainSpelling.canonical(Array(self.address[(at + 1)...]))
    }
}

/// A text with places for a recipient: `{address}`, `{local}` and `{domain}`.
struct RecipientTemplate: Sendable, Equatable {
    enum Piece: Sendable, Equatable {
        case text(String)
        case address, local, domain

        /// The octets that belong into the place; `nil` for a text.
        func value(_ recipient: AskedRecipient) -> [UInt8]? {
            switch self {
            case .text: nil
            case .address: recipient.address
            case .local: recipient.local
            case .domain: recipient.domain
            }
        }
    }

    /// What a text may have, to follow "must be".
    static let expectation = "a text in which braces stand for {address}, {local} or {domain} alone"

    let pieces: [Piece]

    init(pieces: [Piece]) { self.pieces = pieces }

    /// Reads one; `nil` if it has other braces.
    init?(_ text: String) {
        var pieces: [Piece] = []
        var rest = text[...]
        while let start = rest.firstIndex(of: "{") {
            guard let end = rest[start...].firstIndex(of: "}") else { return nil }
            if start > rest.startIndex { pieces.append(.text(String(rest[..<start]))) }
            switch rest[rest.index(after: start)..<end] {
            case "address": pieces.append(.address)
            case "local": pieces.append(.local)
            case "domain": pieces.append(.domain)
            default: return nil
            }
            rest = rest[rest.index(after: end)...]
        }
        guard !rest.contains("}"), !pieces.contains(where: Self.hasBrace) else { return nil }
        if !rest.isEmpty { pieces.append(.text(String(rest))) }
        self.pieces = pieces
    }

    private static func hasBrace(_ piece: Piece) -> Bool {
        if case .text(let text) = piece { text.contains("}") } else { false }
    }

    /// Whether it says which recipient is meant.
    var hasRecipient: Bool { self.pieces.contains(.address) || self.pieces.contains(.local) }

    /// The text for a recipient; `encode` makes of a value what cannot be taken for more than a value.
    func filled(_ recipient: AskedRecipient, _ encode: ([UInt8]) -> String) -> String {
        self.pieces.map { piece in
            if case .text(let text) = piece { return text }
            return encode(piece.value(recipient) ?? [])
        }.joined()
    }
}
