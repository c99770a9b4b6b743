import Octets

/// How the content of a part is encoded.
///
/// - Note: RFC 2045 §6.
public enum TransferEncoding: Sendable, Hashable {
    /// Lines of US-ASCII, as they are; also what stands for an encoding that is not named.
    case sevenBit
    /// Lines of octets, as they are.
    case eightBit
    /// Octets, as they are.
    case binary
    /// RFC 2045 §6.7.
    case quotedPrintable
    /// RFC 2045 §6.8.
    case base64
    /// Another one, whose content is left as it is; the word in lower case.
    case unknown(String)

    init(_ word: String) {
        switch word {
        case "7bit", "": self = .sevenBit
        case "8bit": self = .eightBit
        case "binary": self = .binary
        case "quoted-printable": self = .quotedPrintable
        case "base64": self = .base64
        default: self = .unknown(word)
        }
    }

    /// Whether the content is as it is, so that there may be parts within.
    var isIdentity: Bool {
        switch self {
        case .sevenBit, .eightBit, .binary: true
        case .quotedPrintable, .base64, .unknown: false
        }
    }

    func decode(_ octets: ArraySlice<UInt8>) -> [UInt8] {
        switch self {
        case .sevenBit, .eightBit, .binary, .unknown: Array(octets)
        case .quotedPrintable: Self.quotedPrintable(octets)
        case .base64: Self.base64(octets)
        }
    }

    /// What is no base64 is left out, and padding ends a group and not the content, so that nothing
    /// can be hidden behind it.
    static func base64(_ octets: ArraySlice<UInt8>) -> [UInt8] {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(octets.count / 4 * 3)
        var bits: UInt32 = 0
        var count = 0
        func end() {
            if count > 1 {
                decoded.append(UInt8(truncatingIfNeeded: bits >> (count == 2 ? 4 : 10)))
            }
            if count > 2 { decoded.append(UInt8(truncatingIfNeeded: bits >> 2)) }
            bits = 0
            count = 0
        }
        for octet in octets {
            guard let digit = self.base64Digit(octet) else {
                if octet == UInt8(ascii: "=") { end() }
                continue
            }
            bits = bits << 6 | UInt32(digit)
            count += 1
            guard count == 4 else { continue }
            decoded.append(UInt8(truncatingIfNeeded: bits >> 16))
            decoded.append(UInt8(truncatingIfNeeded: bits >> 8))
            decoded.append(UInt8(truncatingIfNeeded: bits))
            bits = 0
            count = 0
        }
        end()
        return decoded
    }

    private static func base64Digit(_ octet: UInt8) -> UInt8? {
        switch octet {
        case 0x41...0x5A: octet - 0x41
        case 0x61...0x7A: octet - 0x61 + 26
        case 0x30...0x39: octet - 0x30 + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }

    /// A `=` that begins no pair of digits and no soft line end stays as it is; white space at the
    /// end of a line goes, as RFC 2045 §6.7 (3) has it.
    static func quotedPrintable(_ octets: ArraySlice<UInt8>) -> [UInt8] {
        var decoded: [UInt8] = []
        decoded.reserveCapacity(octets.count)
        var index = octets.startIndex
        /// How much of `decoded` does not end in white space that stood there as it is.
        var kept = 0
        while index < octets.endIndex {
            let octet = octets[index]
            index += 1
            switch octet {
            case UInt8(ascii: "="):
                if index + 1 < octets.endIndex, let high = octets[index].hexDigitValue,
                    let low = octets[index + 1].hexDigitValue
                {
                    decoded.append(high << 4 | low)
                    index += 2
                } else if let end = self.softLineEnd(octets, index) {
                    index = end
                } else {
                    decoded.append(octet)
                }
                kept = decoded.count
            case 0x20, 0x09:
                decoded.append(octet)
            case 0x0D, 0x0A:
                decoded.removeLast(decoded.count - kept)
                decoded.append(octet)
                kept = decoded.count
            default:
                decoded.append(octet)
                kept = decoded.count
            }
        }
        decoded.removeLast(decoded.count - kept)
        return decoded
    }

    /// Where the line after a `=` begins if nothing but white space follows it.
    private static func softLineEnd(_ octets: ArraySlice<UInt8>, _ start: Int) -> Int? {
        var index = start
        while index < octets.endIndex, octets[index].isBlank { index += 1 }
        guard index < octets.endIndex else { return index }
        if octets[index] == 0x0D { index += 1 }
        guard index < octets.endIndex else { return index }
        return octets[index] == 0x0A ? index + 1 : nil
    }
}
