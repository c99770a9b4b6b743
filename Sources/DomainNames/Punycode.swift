/// The ASCII form of a label that is not ASCII.
///
/// Encoding only, and without the mappings of UTS 46 beyond lower case: a mail client that says
/// SMTPUTF8 sends U-labels (RFC 6531 §3.3), which are already in their final form.
///
/// - Note: RFC 3492 §5 (parameters), §6.1 (bias), §6.3 (encoding).
package enum Punycode {
    private static let base = 36
    private static let minimumThreshold = 1
    private static let maximumThreshold = 26

    /// Encodes at most 63 scalars, without the `xn--` in front.
    ///
    /// - Returns: `nil` if there are more, which could not fit a label.
    package static func encode(_ scalars: [Unicode.Scalar]) -> [UInt8]? {
        guard scalars.count <= DNSName.maximumLabelOctets else { return nil }
        var output = scalars.filter(\.isASCII).map { UInt8(truncatingIfNeeded: $0.value) }
        let basicCount = output.count
        if basicCount > 0 { output.append(0x2D) }
        var next = 128
        var delta = 0
        var bias = 72
        var handled = basicCount
        // At most 63 scalars below 0x110000: delta stays below 2^31, far from overflow.
        while handled < scalars.count {
            guard let lowest = scalars.lazy.map({ Int($0.value) }).filter({ $0 >= next }).min()
            else { return nil }
            delta += (lowest - next) * (handled + 1)
            next = lowest
            for scalar in scalars {
                if Int(scalar.value) < next { delta += 1 }
                guard Int(scalar.value) == next else { continue }
                Self.append(delta, bias: bias, to: &output)
                bias = Self.adapt(delta, count: handled + 1, isFirst: handled == basicCount)
                delta = 0
                handled += 1
            }
            delta += 1
            next += 1
        }
        return output
    }

    /// Writes one delta as a variable-length integer, least significant digit first.
    private static func append(_ delta: Int, bias: Int, to output: inout [UInt8]) {
        var rest = delta
        var position = Self.base
        while true {
            let threshold = min(
                max(position - bias, Self.minimumThreshold),
                Self.maximumThreshold
            )
            if rest < threshold { break }
            let span = Self.base - threshold
            output.append(Self.digit(threshold + (rest - threshold) % span))
            rest = (rest - threshold) / span
            position += Self.base
        }
        output.append(Self.digit(rest))
    }

    private static func digit(_ value: Int) -> UInt8 {
        UInt8(truncatingIfNeeded: value < 26 ? value + 0x61 : value - 26 + 0x30)
    }

    private static func adapt(_ delta: Int, count: Int, isFirst: Bool) -> Int {
        var rest = isFirst ? delta / 700 : delta / 2
        rest += rest / count
        var shift = 0
        while rest > ((Self.base - Self.minimumThreshold) * Self.maximumThreshold) / 2 {
            rest /= Self.base - Self.minimumThreshold
            shift += Self.base
        }
        return shift + (Self.base * rest) / (rest + 38)
    }
}
