import DomainNames
import PolicyKit

/// Next hops by the domain of a recipient: the control file `smtproutes`, as qmail has it.
///
/// A line is `DOMAIN:HOST:PORT`. `.DOMAIN` stands for everything below a domain, and a line without a
/// domain for all others. HOST may be several, with commas between them.
struct SMTPRoutes: Sendable {
    /// By domain in its canonical spelling; below a domain: with a dot before it; all others: empty.
    private var routes: [[UInt8]: [ServerAddress]] = [:]

    /// - Throws: The problem of the first line that is wrong.
    init(_ lines: [ControlLine], _ dialect: SMTPClientMachine.Dialect) throws {
        for line in lines {
            let (domain, hosts) = try Self.parts(line)
            var key = Array(domain.utf8)
            if let first = key.first {
                key =
                    first == 0x2E
                    ? [0x2E] + DomainSpelling.canonical(Array(key.dropFirst()))
                    : DomainSpelling.canonical(key)
            }
            guard self.routes.updateValue(try Self.route(hosts, line, dialect), forKey: key) == nil
            else {
                let name = domain.isEmpty ? "the default" : domain
                throw line.problem("\(name) has a route already")
            }
        }
    }

    /// The hops for a domain; `nil` if no line says any.
    func route(_ domain: [UInt8]) -> [ServerAddress]? {
        let name = DomainSpelling.canonical(domain)
        if !name.isEmpty, let route = self.routes[name] { return route }
        var rest = name[...]
        while let dot = rest.firstIndex(of: 0x2E) {
            if let route = self.routes[Array(rest[dot...])] { return route }
            rest = rest[(dot + 1)...]
        }
        return self.routes[[]]
    }

    /// What stands before the first colon, and behind it; an address literal has colons of its own.
    private static func parts(_ line: ControlLine) throws -> (String, Substring) {
        let text = line.text
        var start = text.startIndex
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") { start = end }
        guard let colon = text[start...].firstIndex(of: ":") else {
            throw line.problem("\(text) is no route; write DOMAIN:HOST or DOMAIN:HOST:PORT")
        }
        return (String(text[..<colon]), text[text.index(after: colon)...])
    }

    private static func route(
        _ hosts: Substring,
        _ line: ControlLine,
        _ dialect: SMTPClientMachine.Dialect
    ) throws -> [ServerAddress] {
        guard !hosts.isEmpty else {
            throw line.problem("a route needs a host; MX records are not looked up")
        }
        return try hosts.split(separator: ",", omittingEmptySubsequences: false).map { word in
            guard let address = ServerAddress(String(word), speaking: dialect) else {
                throw line.problem("\(word) is no host; write HOST, HOST:PORT or [V6]:PORT")
            }
            return address
        }
    }
}

extension ServerAddress {
    /// Reads an address of a next hop; LMTP's may be a Unix socket, and has another usual port.
    init?(_ text: String, speaking dialect: SMTPClientMachine.Dialect) {
        switch dialect {
        case .smtp:
            guard !text.hasPrefix("/") else { return nil }
            self.init(text, defaultPort: 25)

        case .lmtp:
            self.init(text, defaultPort: 24)
        }
    }

    var isUnix: Bool { if case .unix = self { true } else { false } }
}
