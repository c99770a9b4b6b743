import Configuration
import PolicyCore
import SMTPCore

/// The client that XCLIENT names.
///
/// A command may say a part only, for its line is short. With ADDR it is another client, of which nothing is
/// known but what this command says. Without ADDR it is the same client: name, port and server stay. HELO and
/// PROTO are not kept, for the client greets again; LOGIN holds until the next XCLIENT.
struct NamedClient: Equatable {
    let address: IPAddress?
    let client: Peer
    /// What the client connected to; `nil` leaves what is known.
    let server: Peer?
    let name: String?
    /// The user that the client has logged in as, as the proxy says; `nil` if it names none.
    let user: [UInt8]?

    /// - Returns: `nil` if an address is none, for example `010.0.0.1`.
    init?(_ attributes: ClientAttributes, before facts: SessionFacts) {
        let isOther = attributes[.address] != nil
        guard let (ip, address) = Self.ip(attributes[.address], facts.client.ip),
            let (serverIP, _) = Self.ip(attributes[.serverAddress], facts.server.ip)
        else { return nil }
        self.address = address
        let port = Self.port(attributes[.port], isOther ? 0 : facts.client.port)
        self.client = Peer(ip: ip, port: port)
        let serverPort = Self.port(attributes[.serverPort], facts.server.port)
        let server = Peer(ip: serverIP, port: serverPort)
        self.server = server == facts.server ? nil : server
        if let named = attributes[.name] {
            self.name = named.map { String(decoding: $0, as: UTF8.self) }
        } else {
            self.name = isOther ? nil : facts.clientName
        }
        self.user = attributes[.login] ?? nil
    }

    /// An address that is not known is 0.0.0.0.
    private static func ip(
        _ attribute: [UInt8]??,
        _ before: String
    ) -> (text: String, address: IPAddress?)? {
        switch attribute {
        case nil: return (before, IPAddress(parsing: before))
        case .some(nil): return (Peer.unknownIP, nil)
        case .some(let octets?):
            return IPAddress(parsing: String(decoding: octets, as: UTF8.self)).map { ("\($0)", $0) }
        }
    }

    private static func port(_ attribute: [UInt8]??, _ before: Int) -> Int {
        guard let attribute else { return before }
        return attribute.flatMap { Int(String(decoding: $0, as: UTF8.self)) } ?? 0
    }
}
