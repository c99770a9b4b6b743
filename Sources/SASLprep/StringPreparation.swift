internal import CStringprep

/// Names and passwords in the form in which they are compared: RFC 4013, a profile of stringprep (RFC 3454).
package enum StringPreparation {
    /// The longest text that is prepared, in octets; longer ones are prohibited.
    package static let maximumOctets = 1_024
    /// Each character becomes at most 18 by Unicode's normalisation form KC, of three octets or four.
    private static let growth = 36

    /// The prepared form of `text`.
    ///
    /// Text in ASCII without control characters is its own prepared form, and costs a look at each octet.
    /// Characters that Unicode 3.2 does not assign are taken, as in a query (RFC 3454 §7).
    ///
    /// - Returns: `nil` if it is not UTF-8, is longer than ``maximumOctets``, or has what RFC 4013 §2.3 and §2.4
    ///   prohibit. The result may be empty.
    package static func prepared(_ text: [UInt8]) -> [UInt8]? {
        if text.allSatisfy({ 0x20...0x7E ~= $0 }) {
            return text.count <= Self.maximumOctets ? text : nil
        }
        // The library takes C strings, and NUL is prohibited as all control characters are.
        guard text.count <= Self.maximumOctets, !text.contains(0),
            String(validating: text, as: UTF8.self) != nil
        else { return nil }
        var octets = text.map { CChar(bitPattern: $0) }
        octets += repeatElement(0, count: text.count * Self.growth + 1)
        guard gatepost_saslprep(&octets, octets.count) == 0 else { return nil }
        return octets.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    }
}
