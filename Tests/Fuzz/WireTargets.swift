import JSON
import Octets
import PolicyProtocol
import ProxyProtocol
import RESP
import TLSRecords

/// What proxies, workers, frontends and Redis send.
enum WireTargets {
    /// A PROXY header is decided by its own octets: what follows changes nothing.
    static func proxy(_ input: [UInt8]) {
        let whole = Result { try Self.read(input) }
        for count in 0...min(input.count, 600) {
            let part = Result { try Self.read(Array(input.prefix(count))) }
            switch (part, whole) {
            case (.success(nil), _): continue
            case (.success(let found?), .success(let other?)):
                promise(found.octets <= count, "a header is longer than what came")
                promise(
                    found.header == other.header && found.octets == other.octets,
                    "a header depends on what follows it"
                )
            case (.failure, .failure): continue
            default: promise(false, "\(count) octets are \(part), all of them are \(whole)")
            }
        }
    }

    private static func read(_ octets: [UInt8]) throws -> (header: ProxyHeader, octets: Int)? {
        try ProxyHeader.read(in: octets.span)
    }

    /// The first records of a handshake say the same however they are cut: the last octet says how.
    ///
    /// What the server sends leaves the library in one piece, so it is not cut.
    static func hello(_ input: [UInt8]) {
        guard let cut = input.last else { return }
        let octets = input.dropLast()
        var (whole, cutUp) = (HelloRecords(), HelloRecords())
        whole.clientSent(octets)
        for piece in pieces(octets, cut: cut) { cutUp.clientSent(piece) }
        promise(whole.serverName == cutUp.serverName, "the name depends on the cut")
        if let name = whole.serverName {
            let isPrintable = name.utf8.allSatisfy { (0x21...0x7E).contains($0) }
            promise(isPrintable && name.utf8.count <= 255, "a name that no client may send")
        }
        let before = whole.serverName
        whole.serverSent(octets)
        let cipher = whole.cipher
        whole.serverSent(octets)
        promise(whole.cipher == cipher && whole.serverName == before, "the server spoke twice")
    }

    /// The lines of a stream are the same however it is cut, and none is over the limit.
    static func frame(_ input: [UInt8]) {
        guard let cut = input.last else { return }
        let whole = Self.lines([input.dropLast()])
        let cutUp = Self.lines(pieces(input.dropLast(), cut: cut))
        promise(whole == cutUp, "frames depend on the cut")
    }

    private static func lines(_ pieces: [ArraySlice<UInt8>]) -> [[UInt8]] {
        var decoder = FrameDecoder(maximumFrameOctets: 64)
        var lines: [[UInt8]] = []
        for piece in pieces {
            do {
                try piece.withUnsafeBytes { octets in
                    try decoder.receive(octets) {
                        lines.append($0)
                        return true
                    }
                }
            } catch {
                return lines + [Array("too long".utf8)]
            }
        }
        promise(lines.allSatisfy { $0.count < 64 }, "a frame is over its limit")
        return lines
    }

    /// The fast reading of a worker's line says what the strict one does, and what is read can be written
    /// and read again.
    static func verdict(_ input: [UInt8]) {
        for wantsTrace in [true, false] {
            let fast = Result { try WorkerMessage.decode(input, wantsTrace: wantsTrace) }
            let strict = Result { try WorkerMessage.decodeInFull(input, wantsTrace: wantsTrace) }
            switch (fast, strict) {
            case (.success(let one), .success(let other)):
                promise(one == other, "two readings of a line: \(one) and \(other)")
            case (.failure, .failure): break
            default: promise(false, "one reading of a line fails: \(fast) and \(strict)")
            }
            guard case .success(.verdict(_, .success(let verdict))) = strict else { continue }
            var writer = JSONWriter()
            WorkerLine.verdict(verdict, into: &writer)
            let again = try? WorkerMessage.decodeInFull(Self.line(writer), wantsTrace: wantsTrace)
            promise(
                again == .verdict(id: verdict.id, .success(verdict)),
                "a verdict is not what was written: \(verdict) and \(String(describing: again))"
            )
        }
    }

    private static func line(_ writer: JSONWriter) -> [UInt8] {
        var octets = writer.octets
        if octets.last == 0x0A { octets.removeLast() }
        return octets
    }

    /// Each part of an event can be asked for.
    static func event(_ input: [UInt8]) {
        guard let message = try? FrontendMessage.decode(input) else { return }
        guard case .event(let event) = message else { return }
        _ = try? event.session()
        _ = try? event.transaction()
        _ = try? event.recipients()
        _ = try? event.headers()
        _ = try? event.trace()
        _ = try? event.notes(.session)
        _ = try? event.notes(.transaction)
        _ = try? event.sender()
        _ = try? event.recipient()
    }

    /// The values of a server are the same however they are cut, and within their limits: the last octet says how.
    static func resp(_ input: [UInt8]) {
        guard let cut = input.last else { return }
        let whole = Self.values([input.dropLast()])
        let cutUp = Self.values(pieces(input.dropLast(), cut: cut))
        promise(whole == cutUp, "values depend on the cut: \(whole) and \(cutUp)")
    }

    private static func values(_ pieces: [ArraySlice<UInt8>]) -> [RESPValue] {
        var limits = RESPReader.Limits()
        limits.octets = 256
        limits.lineOctets = 32
        limits.parts = 16
        limits.depth = 3
        var reader = RESPReader(limits: limits)
        var values: [RESPValue] = []
        for piece in pieces {
            reader.append(piece)
            do {
                while let value = try reader.next() {
                    promise(Self.depth(value) <= 3, "a value is too deep")
                    promise(Self.parts(value) <= 16, "a value has too many parts")
                    values.append(value)
                }
            } catch {
                return values + [.error("no value")]
            }
        }
        return values
    }

    private static func depth(_ value: RESPValue) -> Int {
        switch value {
        case .array(let parts), .push(let parts): parts.map { 1 + Self.depth($0) }.max() ?? 0
        case .string, .error, .integer, .null: 0
        }
    }

    private static func parts(_ value: RESPValue) -> Int {
        switch value {
        case .array(let parts), .push(let parts): parts.reduce(1) { $0 + Self.parts($1) }
        case .string, .error, .integer, .null: 1
        }
    }

    /// What is decoded is encoded to the same text, but for the padding.
    static func base64(_ input: [UInt8]) {
        promise(Base64.decode(Base64.encoded(input)) == input, "octets are not what was encoded")
        guard let octets = Base64.decode(input) else { return }
        promise(Base64.encoded(octets) == input, "two texts of one value are taken")
    }
}
