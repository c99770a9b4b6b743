/// How a word of a plugin's line is read, and what to say if it cannot be.
///
/// A plugin may add its own: `ArgumentType("a colour") { Colour(rawValue: $0) }`.
public struct ArgumentType<Value: Sendable>: Sendable {
    /// What is allowed, to follow "must be".
    public let expectation: String
    package let read: @Sendable (String) -> Value?

    /// A type of argument.
    ///
    /// - Parameters:
    ///   - expectation: What is allowed, to follow "must be": `a number from 1 to 5`.
    ///   - read: The value that a word stands for, `nil` if it stands for none.
    public init(_ expectation: String, read: @escaping @Sendable (String) -> Value?) {
        self.expectation = expectation
        self.read = read
    }
}

extension ArgumentType<String> {
    /// Any word.
    public static var text: Self { Self("a word") { $0 } }
}

extension ArgumentType<Int> {
    /// A whole number within `range`.
    public static func integer(in range: ClosedRange<Int>) -> Self {
        Self("a whole number from \(range.lowerBound) to \(range.upperBound)") { word in
            Int(word).flatMap { range.contains($0) ? $0 : nil }
        }
    }
}

extension ArgumentType<Double> {
    /// A number within `range`.
    public static func number(in range: ClosedRange<Double>) -> Self {
        Self("a number from \(range.lowerBound) to \(range.upperBound)") { word in
            Double(word).flatMap { range.contains($0) ? $0 : nil }
        }
    }
}

extension ArgumentType<Bool> {
    /// `1`, `yes`, `true`, `on` or `0`, `no`, `false`, `off`, in any case.
    public static var flag: Self {
        Self("1 or 0 (yes, no, true, false, on, off)") { word in
            switch word.lowercased() {
            case "1", "yes", "true", "on": true
            case "0", "no", "false", "off": false
            default: nil
            }
        }
    }
}

extension ArgumentType<Duration> {
    /// A time within `range`: a number and `ms`, `s`, `m`, `h` or `d`; without a unit, seconds.
    public static func duration(in range: ClosedRange<Duration>) -> Self {
        Self("a time from \(range.lowerBound) to \(range.upperBound), as in 500ms, 5, 5s, 10m, 2h")
        { word in
            let digits = word.prefix { $0.isASCII && ($0.isNumber || $0 == ".") }
            guard let number = Double(digits), number.isFinite, number < 1e9 else { return nil }
            let unit: Double
            switch word.dropFirst(digits.count) {
            case "ms": unit = 0.001
            case "", "s": unit = 1
            case "m": unit = 60
            case "h": unit = 3_600
            case "d": unit = 86_400
            default: return nil
            }
            let value = Duration.seconds(number * unit)
            return range.contains(value) ? value : nil
        }
    }
}

extension ArgumentType {
    /// One of the words of a dictionary, in any case.
    public static func choice(_ words: [String: Value]) -> Self {
        let list = words.keys.sorted().joined(separator: ", ")
        return Self("one of \(list)") { words[$0.lowercased()] }
    }
}

extension ArgumentType where Value: CaseIterable & RawRepresentable<String> {
    /// One of the values of an enumeration, in any case.
    public static var choice: Self {
        let list = Value.allCases.map(\.rawValue).joined(separator: ", ")
        return Self("one of \(list)") { word in
            Value.allCases.first { $0.rawValue.lowercased() == word.lowercased() }
        }
    }
}
