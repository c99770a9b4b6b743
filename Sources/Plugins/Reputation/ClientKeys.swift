import DomainNames
import PolicyKit

/// Parts of keys in the store that come from clients.
enum ClientKey {
    /// A longer part is cut, and a digest of all of it put behind.
    private static let maximumOctets = 200

    /// A part that has no space, and 233 octets at most; the same for no other value.
    static func part(_ octets: [UInt8]) -> [UInt8] {
        var part: [UInt8] = []
        for octet in octets.prefix(Self.maximumOctets * 2) {
            switch octet {
            case 0x21...0x7E where octet != UInt8(ascii: "%"): part.append(octet)
            default:
                part += [UInt8(ascii: "%"), Self.digit(octet >> 4), Self.digit(octet & 15)]
            }
        }
        guard part.count > Self.maximumOctets else { return part }
        let digest = MD5.authenticationCode(of: octets, key: []).flatMap {
            [Self.digit($0 >> 4), Self.digit($0 & 15)]
        }
        return part.prefix(Self.maximumOctets) + [UInt8(ascii: "%")] + digest
    }

    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }

    /// An address of a sender or recipient: its domain in one spelling, all of it in lower case; `<>` for the null
    /// sender.
    static func address(_ address: Bytes) -> [UInt8] {
        address.octets.isEmpty
            ? Array("<>".utf8) : self.part(DomainSpelling.canonical(address: address.octets))
    }
}
