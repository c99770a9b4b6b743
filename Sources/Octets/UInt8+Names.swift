/// The octets that the grammars of mail name, and what they are in ASCII.
///
/// They can be inlined in other targets: they stand in the loops that read every octet.
extension UInt8 {
    @inlinable package static var nul: UInt8 { 0x00 }
    @inlinable package static var tab: UInt8 { 0x09 }
    @inlinable package static var lineFeed: UInt8 { 0x0A }
    @inlinable package static var carriageReturn: UInt8 { 0x0D }
    @inlinable package static var space: UInt8 { 0x20 }
    @inlinable package static var quote: UInt8 { 0x22 }
    @inlinable package static var hyphen: UInt8 { 0x2D }
    @inlinable package static var dot: UInt8 { 0x2E }
    @inlinable package static var colon: UInt8 { 0x3A }
    @inlinable package static var less: UInt8 { 0x3C }
    @inlinable package static var equals: UInt8 { 0x3D }
    @inlinable package static var greater: UInt8 { 0x3E }
    @inlinable package static var at: UInt8 { 0x40 }
    @inlinable package static var openingBracket: UInt8 { 0x5B }
    @inlinable package static var backslash: UInt8 { 0x5C }
    @inlinable package static var closingBracket: UInt8 { 0x5D }
    @inlinable package static var delete: UInt8 { 0x7F }

    @inlinable package var isDigit: Bool { self &- 0x30 < 10 }
    @inlinable package var isLetter: Bool { (self | 0x20) &- 0x61 < 26 }
    @inlinable package var isLetterOrDigit: Bool { self.isLetter || self.isDigit }
    @inlinable package var isHexDigit: Bool { self.isDigit || (self | 0x20) &- 0x61 < 6 }
    /// C0 controls and DEL.
    @inlinable package var isControl: Bool { self < 0x20 || self == .delete }
    @inlinable package var isNonASCII: Bool { self >= 0x80 }
    @inlinable package var isBlank: Bool { self == .space || self == .tab }
    /// What a hexadecimal digit stands for; `nil` for another octet.
    @inlinable package var hexDigitValue: UInt8? {
        guard self.isHexDigit else { return nil }
        return self.isDigit ? self &- 0x30 : (self | 0x20) &- 0x61 &+ 10
    }
    /// ASCII letters in lower case, every other octet as it is.
    @inlinable package var lowerCased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }
    /// ASCII letters in upper case, every other octet as it is.
    @inlinable package var upperCased: UInt8 { self &- 0x61 < 26 ? self & 0xDF : self }
}
