import Octets
import Patterns
import PolicyKit

/// What a client says at HELO or EHLO (RFC 5321 §4.1.1.1).
struct GreetedName {
    enum Form: Equatable {
        /// `localhost`, or a name of this machine alone.
        case localhost
        /// An address as it is: RFC 5321 does not allow it.
        case address(IPAddress)
        /// `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
        case literal(IPAddress)
        /// A domain name.
        case domain(DNSName)
        /// Anything else.
        case other
    }

    /// In lower case.
    let octets: [UInt8]

    init(_ octets: [UInt8]) { self.octets = octets.map(\.lowerCased) }

    var form: Form {
        let text = String(decoding: self.octets, as: UTF8.self)
        if let address = IPAddress(parsing: text) { return .address(address) }
        if text.hasPrefix("["), text.hasSuffix("]") {
            var inner = text.dropFirst().dropLast()
            if inner.hasPrefix("ipv6:") { inner = inner.dropFirst(5) }
            return IPAddress(parsing: String(inner)).map { .literal($0) } ?? .other
        }
        guard let name = DNSName(octets: self.octets) else { return .other }
        if name.text == "localhost" || name.text == "localhost.localdomain" { return .localhost }
        return .domain(name)
    }
}

/// A line of `badhelo`: a name, or a regular expression.
struct BadHelo: Sendable {
    private enum Form: Sendable {
        case name([UInt8])
        /// `isNegated`: names that it does not match are bad.
        case pattern(Pattern, isNegated: Bool)
    }

    private let form: Form

    @Sendable
    init(_ line: ControlLine) throws {
        guard line.text.contains(where: { "{}[]()^$*+?\\!|".contains($0) }) else {
            self.form = .name(line.text.utf8.map(\.lowerCased))
            return
        }
        let isNegated = line.text.hasPrefix("!")
        do {
            let pattern = try Pattern(String(isNegated ? line.text.dropFirst() : line.text[...]))
            self.form = .pattern(pattern, isNegated: isNegated)
        } catch {
            throw line.problem("\(error)")
        }
    }

    /// Whether the line means a name in lower case.
    ///
    /// - Throws: If a pattern took too long to tell.
    func matches(_ name: [UInt8]) throws -> Bool {
        switch self.form {
        case .name(let bad): name == bad
        case .pattern(let pattern, let isNegated): try pattern.occurs(in: name) != isNegated
        }
    }

    /// The reply's text.
    func text(_ name: Bytes) -> String {
        switch self.form {
        case .name: "I do not believe you are \(name)"
        case .pattern: "Your HELO name is not allowed"
        }
    }
}
