import Octets

/// What a trusted client says of another client, by XCLIENT or XFORWARD.
///
/// Postfix's protocols, <http://www.postfix.org/XCLIENT_README.html> and
/// <http://www.postfix.org/XFORWARD_README.html>.
package struct ClientAttributes: Equatable, Sendable {
    package enum Name: String, CaseIterable, Sendable {
        /// The host name.
        case name = "NAME"
        /// The IP address.
        case address = "ADDR"
        case port = "PORT"
        /// `SMTP` or `ESMTP`; for XFORWARD any name.
        case proto = "PROTO"
        /// What the client said at HELO or EHLO.
        case hello = "HELO"
        /// The user that the client proved to be.
        case login = "LOGIN"
        /// The IP address and the port that the client connected to.
        case serverAddress = "DESTADDR"
        case serverPort = "DESTPORT"
        /// How the message is called where it came from.
        case identity = "IDENT"
        /// `LOCAL` or `REMOTE`.
        case source = "SOURCE"
    }

    package struct Entry: Equatable, Sendable {
        package let name: Name
        /// Checked octets without xtext, an address without its prefix `IPV6:`.
        ///
        /// `nil`: the client has none, or it could not be found out.
        package let value: [UInt8]?

        package init(name: Name, value: [UInt8]?) {
            self.name = name
            self.value = value
        }
    }

    /// Each name once.
    package private(set) var entries: [Entry]

    package init(_ entries: [Entry]) {
        self.entries = entries
    }

    /// `nil`: the command did not name it; `.some(nil)`: there is none.
    package subscript(name: Name) -> [UInt8]?? {
        self.entries.first { $0.name == name }.map(\.value)
    }

    /// All of them for a log: `NAME=value` with spaces between, without those that are not known.
    package var text: [UInt8] {
        let known = self.entries.compactMap { entry in
            entry.value.map { Array("\(entry.name.rawValue)=".utf8) + $0 }
        }
        return Array(known.joined(separator: [.space]))
    }

    /// What `newer` names takes the place of what was named before.
    package mutating func merge(_ newer: Self) {
        self.entries.removeAll { newer[$0.name] != nil }
        self.entries += newer.entries
    }
}

/// Which of the two commands is read.
enum ClientCommand {
    case xclient
    case xforward

    /// In the order in which EHLO lists them.
    var names: [ClientAttributes.Name] {
        switch self {
        case .xclient:
            [.name, .address, .port, .proto, .hello, .login, .serverAddress, .serverPort]
        case .xforward: [.name, .address, .port, .proto, .hello, .identity, .source]
        }
    }
}

extension ClientAttributes {
    /// Reads `NAME=value` and more of them, with spaces between; a value is xtext.
    ///
    /// - Returns: `nil` if it is anything else, has no attribute, one that is unknown to the command, or
    ///   one twice, or if a value is not what its attribute holds.
    init?(_ octets: borrowing Span<UInt8>, _ range: Range<Int>, of command: ClientCommand) {
        self.init([])
        var index = range.lowerBound
        while index < range.upperBound {
            let start = index
            while index < range.upperBound, octets[index] != .equals, octets[index] != .space {
                index += 1
            }
            guard index < range.upperBound, octets[index] == .equals,
                let name = Self.name(octets, start..<index, of: command), self[name] == nil
            else { return nil }
            let valueStart = index + 1
            index = valueStart
            while index < range.upperBound, octets[index] != .space { index += 1 }
            guard let written = XText.decoded(octets, valueStart..<index),
                let entry = Self.entry(name, written, of: command)
            else { return nil }
            self.entries.append(entry)
            while index < range.upperBound, octets[index] == .space { index += 1 }
        }
        if self.entries.isEmpty { return nil }
    }

    private static func name(
        _ octets: borrowing Span<UInt8>,
        _ range: Range<Int>,
        of command: ClientCommand
    ) -> Name? {
        let word = octets.octets(range).map(\.upperCased)
        return command.names.first { word.elementsEqual($0.rawValue.utf8) }
    }

    private static func entry(
        _ name: Name,
        _ value: [UInt8],
        of command: ClientCommand
    ) -> Entry? {
        let word = value.map(\.upperCased)
        if ["[UNAVAILABLE]", "[TEMPUNAVAIL]"].contains(where: { word.elementsEqual($0.utf8) }) {
            return Entry(name: name, value: nil)
        }
        guard !value.isEmpty, !value.contains(where: \.isControl) else { return nil }
        let isValid: Bool
        switch name {
        case .name: isValid = value.count <= 255 && value.allSatisfy(Self.isOfHostName)
        case .address, .serverAddress:
            return Self.address(value).map { Entry(name: name, value: $0) }
        case .port, .serverPort: isValid = Self.isPort(value)
        case .proto:
            let isSMTP = word.elementsEqual("SMTP".utf8) || word.elementsEqual("ESMTP".utf8)
            isValid = command == .xclient ? isSMTP : value.count <= 64
        case .hello, .identity: isValid = value.count <= 255
        case .login: isValid = value.count <= SMTPLimits.credentialOctets
        case .source:
            isValid = word.elementsEqual("LOCAL".utf8) || word.elementsEqual("REMOTE".utf8)
        }
        return isValid ? Entry(name: name, value: value) : nil
    }

    private static func isOfHostName(_ octet: UInt8) -> Bool {
        octet.isLetterOrDigit || octet == .hyphen || octet == .dot || octet == UInt8(ascii: "_")
    }

    private static func isPort(_ value: [UInt8]) -> Bool {
        guard value.count <= 5, value.allSatisfy(\.isDigit) else { return false }
        return value.reduce(0) { $0 * 10 + Int($1 &- 0x30) } <= 65_535
    }

    /// An address as it stands in an address literal, without the prefix of IPv6.
    private static func address(_ value: [UInt8]) -> [UInt8]? {
        let literal = [.openingBracket] + value + [.closingBracket]
        let span = literal.span
        guard let end = AddressLiteralGrammar.end(in: span, at: 0, before: span.count),
            end.end == span.count
        else { return nil }
        switch end.kind {
        case .ipv4: return value
        case .ipv6: return Array(value.dropFirst(5))
        case .name, .general: return nil
        }
    }
}
