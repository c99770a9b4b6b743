/// What two records of a TLS handshake say that the TLS library does not tell: the name that the client
/// asks for, and the cipher suite that the server chose.
///
/// Reads what other code has checked or will check, so a record that it cannot read is no error: then it
/// says nothing. It keeps one record at most.
package struct HelloRecords: Equatable, Sendable {
    /// SNI, as the client sent it; `nil` if it sent none.
    private(set) package var serverName: String?
    /// The number of the cipher suite; `nil` until the server has spoken.
    private(set) package var cipher: UInt16?
    /// The client's first record so far; `nil` once it was read.
    private var clientHello: [UInt8]? = []

    private static let maximumRecordOctets = 5 + 16_384

    package init() {}

    /// Octets from the client, oldest first.
    package mutating func clientSent(_ octets: some Collection<UInt8>) {
        guard var record = self.clientHello else { return }
        record += octets.prefix(Self.maximumRecordOctets - record.count)
        self.clientHello = record
        var reader = OctetReader(record[...])
        guard let header = reader.take(5) else { return }
        let length = Int(header[header.startIndex + 3]) << 8 | Int(header[header.startIndex + 4])
        guard header.first == 22, length <= 16_384 else {
            self.clientHello = nil
            return
        }
        guard let body = reader.take(length) else { return }
        self.clientHello = nil
        self.serverName = Self.serverName(in: body)
    }

    /// Octets to the client: the first ones begin with the ServerHello.
    package mutating func serverSent(_ octets: some Collection<UInt8>) {
        guard self.cipher == nil else { return }
        var reader = OctetReader(Array(octets.prefix(5 + 4 + 2 + 32 + 1 + 32 + 2))[...])
        // Record header; handshake type 2 with its length; version and random (RFC 8446 §4.1.3).
        guard reader.take(1)?.first == 22, reader.skip(4), reader.take(1)?.first == 2,
            reader.skip(3 + 2 + 32), reader.skipVector(lengthOctets: 1),
            let suite = reader.number(2)
        else { return }
        self.cipher = UInt16(suite)
    }

    /// RFC 6066 §3: the first `host_name`.
    private static func serverName(in hello: ArraySlice<UInt8>) -> String? {
        var reader = OctetReader(hello)
        // Type and length; version and random; session id, cipher suites, compression methods.
        guard reader.take(1)?.first == 1, reader.skip(3 + 2 + 32),
            reader.skipVector(lengthOctets: 1), reader.skipVector(lengthOctets: 2),
            reader.skipVector(lengthOctets: 1), let list = reader.vector(lengthOctets: 2)
        else { return nil }
        var extensions = OctetReader(list)
        while let type = extensions.number(2), let body = extensions.vector(lengthOctets: 2) {
            guard type == 0 else { continue }
            var names = OctetReader(body)
            guard let list = names.vector(lengthOctets: 2) else { return nil }
            var entry = OctetReader(list)
            guard entry.take(1)?.first == 0, let name = entry.vector(lengthOctets: 2),
                name.count <= 255, name.allSatisfy({ (0x21...0x7E).contains($0) })
            else { return nil }
            return String(decoding: name, as: UTF8.self)
        }
        return nil
    }
}

/// Reads octets from the front; every read says whether there was enough.
private struct OctetReader {
    private var rest: ArraySlice<UInt8>

    init(_ octets: ArraySlice<UInt8>) {
        self.rest = octets
    }

    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard self.rest.count >= count else { return nil }
        defer { self.rest = self.rest.dropFirst(count) }
        return self.rest.prefix(count)
    }

    mutating func skip(_ count: Int) -> Bool { self.take(count) != nil }

    mutating func number(_ octets: Int) -> Int? {
        self.take(octets)?.reduce(0) { $0 << 8 | Int($1) }
    }

    /// A vector that begins with its length (RFC 8446 §3.4).
    mutating func vector(lengthOctets: Int) -> ArraySlice<UInt8>? {
        self.number(lengthOctets).flatMap { self.take($0) }
    }

    mutating func skipVector(lengthOctets: Int) -> Bool {
        self.vector(lengthOctets: lengthOctets) != nil
    }
}
