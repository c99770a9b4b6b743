import Glibc
import Synchronization

/// A DNS server on loopback for tests: answers over UDP what a table says, or nothing.
///
/// One thread, ended by ``stop()`` or with the last reference.
final class FakeDNSServer: Sendable {
    /// What to answer a question.
    enum Response: Sendable {
        /// Records of the type asked for: their data as it stands on the wire.
        case records([[UInt8]])
        case nodata
        case nxdomain
        case servfail
        /// A packet as it is, after the two octets of the id.
        case raw([UInt8])
        /// No answer at all.
        case silence
    }

    struct Question: Sendable, Hashable {
        let name: String
        let type: Int
        init(_ name: String, _ type: Int) {
            self.name = name
            self.type = type
        }
    }

    /// `127.0.0.1:PORT`.
    let address: String
    private let descriptor: CInt
    private let table: [Question: Response]
    private let log = Mutex<[Question]>([])

    /// Whatever is not in the table does not exist.
    init(_ table: [Question: Response]) throws {
        self.table = table
        self.descriptor = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = self.descriptor
        let status = withUnsafeMutablePointer(to: &name) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
                bind(descriptor, name, length) == 0 ? getsockname(descriptor, name, &length) : -1
            }
        }
        guard status == 0 else { throw FakeServerError.cannotListen }
        self.address = "127.0.0.1:\(UInt16(bigEndian: name.sin_port))"
        let this = Unmanaged.passRetained(self)
        var thread = pthread_t()
        pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<FakeDNSServer>.fromOpaque(argument).takeRetainedValue().serve()
                return nil
            },
            this.toOpaque()
        )
        pthread_detach(thread)
    }

    /// Every question that came, in order.
    var questions: [Question] { self.log.withLock { $0 } }

    func stop() { shutdown(self.descriptor, Int32(SHUT_RDWR)) }

    private func serve() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            var peer = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let descriptor = self.descriptor
            let count = withUnsafeMutablePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(descriptor, &buffer, buffer.count, 0, $0, &length)
                }
            }
            guard count > 0 else { break }
            guard let answer = self.answer(Array(buffer[..<count])) else { continue }
            _ = withUnsafePointer(to: &peer) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(descriptor, answer, answer.count, 0, $0, length)
                }
            }
        }
        close(self.descriptor)
    }

    private func answer(_ query: [UInt8]) -> [UInt8]? {
        var labels: [String] = []
        var index = 12
        while index < query.count, query[index] != 0 {
            let end = index + 1 + Int(query[index])
            guard end < query.count else { return nil }
            labels.append(String(decoding: query[index + 1..<end], as: UTF8.self))
            index = end
        }
        guard index + 4 < query.count else { return nil }
        let type = Int(query[index + 1]) << 8 | Int(query[index + 2])
        let question = Question(labels.joined(separator: ".").lowercased(), type)
        self.log.withLock { $0.append(question) }
        let body = Array(query[12..<index + 5])
        switch self.table[question] ?? .nxdomain {
        case .silence: return nil
        case .raw(let octets): return Array(query[..<2]) + octets
        case .nodata: return Self.packet(query, code: 0, body: body, records: [], type: type)
        case .nxdomain: return Self.packet(query, code: 3, body: body, records: [], type: type)
        case .servfail: return Self.packet(query, code: 2, body: body, records: [], type: type)
        case .records(let records):
            return Self.packet(query, code: 0, body: body, records: records, type: type)
        }
    }

    private static func packet(
        _ query: [UInt8],
        code: UInt8,
        body: [UInt8],
        records: [[UInt8]],
        type: Int
    ) -> [UInt8] {
        var packet = Array(query[..<2]) + [0x81, 0x80 | code, 0, 1]
        packet += [UInt8(records.count >> 8), UInt8(records.count & 0xFF), 0, 0, 0, 0] + body
        for record in records {
            packet += [0xC0, 0x0C, UInt8(type >> 8), UInt8(type & 0xFF), 0, 1, 0, 0, 0, 60]
            packet += [UInt8(record.count >> 8), UInt8(record.count & 0xFF)] + record
        }
        return packet
    }

    /// A name as record data.
    static func wire(_ name: String) -> [UInt8] {
        name.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
    }

    /// An MX record's data.
    static func mx(_ preference: UInt8, _ name: String) -> [UInt8] {
        [0, preference] + self.wire(name)
    }
}

enum FakeServerError: Error {
    case cannotListen
}
