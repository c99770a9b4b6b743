/// The octets that SMTP's grammar names.
extension UInt8 {
    static var nul: UInt8 { 0x00 }
    static var tab: UInt8 { 0x09 }
    static var lineFeed: UInt8 { 0x0A }
    static var carriageReturn: UInt8 { 0x0D }
    static var space: UInt8 { 0x20 }
    static var quote: UInt8 { 0x22 }
    static var hyphen: UInt8 { 0x2D }
    static var dot: UInt8 { 0x2E }
    static var colon: UInt8 { 0x3A }
    static var less: UInt8 { 0x3C }
    static var equals: UInt8 { 0x3D }
    static var greater: UInt8 { 0x3E }
    static var at: UInt8 { 0x40 }
    static var openingBracket: UInt8 { 0x5B }
    static var backslash: UInt8 { 0x5C }
    static var closingBracket: UInt8 { 0x5D }
    static var delete: UInt8 { 0x7F }

    var isDigit: Bool { self &- 0x30 < 10 }
    var isLetter: Bool { (self | 0x20) &- 0x61 < 26 }
    var isLetterOrDigit: Bool { self.isLetter || self.isDigit }
    var isHexDigit: Bool { self.isDigit || (self | 0x20) &- 0x61 < 6 }
    /// C0 controls and DEL.
    var isControl: Bool { self < 0x20 || self == .delete }
    var isNonASCII: Bool { self >= 0x80 }
    var isBlank: Bool { self == .space || self == .tab }
    /// ASCII letters in upper case, every other octet as it is.
    var upperCased: UInt8 { self &- 0x61 < 26 ? self & 0xDF : self }
}
