import PolicyKitTesting
import Synchronization

/// LDAP (RFC 4511) in BER, without a library: a directory that answers what a test tells it.
enum FakeDirectory {
    /// What a client asks for.
    enum Request: Equatable, Sendable {
        case bind(name: String, password: String)
        /// With the octets of the whole request.
        case search([UInt8])
        case startTLS, unbind, other
    }

    /// The requests of all connections, in their order.
    final class Requests: Sendable {
        private let list = Mutex<[Request]>([])
        var all: [Request] { self.list.withLock { $0 } }
        func append(_ request: Request) { self.list.withLock { $0.append(request) } }
    }

    /// A server that follows each request with the octets that `answer` makes for its message id.
    static func server(
        _ requests: Requests = Requests(),
        _ answer: @escaping @Sendable (Request, UInt8) -> [UInt8]
    ) throws -> TestServer {
        try TestServer { connection in
            while let (request, id) = Self.next(connection) {
                requests.append(request)
                connection.write(answer(request, id))
            }
        }
    }

    /// A message with a result: 0x61 bind, 0x65 search, 0x78 extended (RFC 4511 §4.2 and following).
    static func result(_ tag: UInt8, _ id: UInt8, _ code: UInt8 = 0) -> [UInt8] {
        Self.message(id, Self.value(tag, [0x0A, 1, code, 0x04, 0, 0x04, 0]))
    }

    /// An entry that a search found.
    static func entry(_ id: UInt8, _ name: String) -> [UInt8] {
        Self.message(id, Self.value(0x64, Self.value(0x04, Array(name.utf8)) + [0x30, 0]))
    }

    /// The answer to all requests of a directory with one user.
    static func good(_ request: Request, _ id: UInt8) -> [UInt8] {
        switch request {
        case .bind(_, let password): Self.result(0x61, id, password == "secret" ? 0 : 49)
        case .search: Self.entry(id, "uid=jo,o=x") + Self.result(0x65, id)
        case .startTLS: Self.result(0x78, id, 2)
        case .unbind, .other: []
        }
    }

    static func message(_ id: UInt8, _ operation: [UInt8]) -> [UInt8] {
        Self.value(0x30, [0x02, 1, id] + operation)
    }

    static func value(_ tag: UInt8, _ octets: [UInt8]) -> [UInt8] {
        [tag, UInt8(octets.count)] + octets
    }

    private static func next(_ connection: TestServer.Connection) -> (Request, UInt8)? {
        let head = connection.read(2)
        guard head.count == 2, head[0] == 0x30 else { return nil }
        var length = Int(head[1])
        if length >= 0x80 {
            length = connection.read(length & 0x7F).reduce(0) { $0 << 8 | Int($1) }
        }
        let body = connection.read(length)
        guard body.count == length, length >= 5, body[0] == 0x02, body[1] == 1 else { return nil }
        return (Self.request(Array(body[3...])), body[2])
    }

    private static func request(_ operation: [UInt8]) -> Request {
        switch operation[0] {
        case 0x60:
            // Version, name and password, each shorter than 128 octets.
            let start = operation.firstIndex(of: 0x04) ?? 0
            let name = Self.text(operation, start)
            return .bind(name: name, password: Self.text(operation, start + 2 + name.utf8.count))
        case 0x63: return .search(operation)
        case 0x77: return .startTLS
        case 0x42: return .unbind
        default: return .other
        }
    }

    private static func text(_ octets: [UInt8], _ start: Int) -> String {
        guard start + 1 < octets.count else { return "" }
        let rest = octets[(start + 2)...].prefix(Int(octets[start + 1]))
        return String(decoding: rest, as: UTF8.self)
    }
}
