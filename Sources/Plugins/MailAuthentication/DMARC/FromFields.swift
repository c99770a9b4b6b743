import DMARC
import PolicyKit

/// Who a message says it is from.
enum FromFields: Equatable {
    /// From one domain.
    case author(DNSName)
    /// From more than one, or in a way that readers understand in more than one way; how, for a reply.
    case several(String)
    /// No domain that could be asked about; why.
    case none(String)

    init(_ headers: [HeaderField]) {
        let fields = headers.filter { $0.name.equalsIgnoringASCIICase("From") }
        guard let field = fields.first else {
            self = .none("no From field")
            return
        }
        guard fields.count == 1 else {
            self = .several("\(fields.count) From fields")
            return
        }
        var found = AuthorDomains(field.value.octets)
        if found.domains.isEmpty, found.unreadable == 0 {
            // Some mail programs show the address that an encoded word has.
            found = AuthorDomains(Self.decoded(field.value))
        }
        switch (found.domains.count, found.unreadable, found.domains.first) {
        case (1, 0, let domain?): self = .author(domain)
        case (0, 0, _): self = .none("the From field has no address")
        case (0, _, _): self = .none("the domain of the From field is no name")
        case (1, _, _): self = .several("a From field with an address whose domain is no name")
        default: self = .several("\(found.domains.count) domains in its From field")
        }
    }

    /// The value with its encoded words decoded.
    private static func decoded(_ value: Bytes) -> [UInt8] {
        let mime = MIMEMessage(Array("From:".utf8) + value.octets + Array("\r\n\r\n".utf8))
        return Array((mime.root.fields.first?.text ?? "").utf8)
    }
}
