import DKIM
import PolicyKit

/// Finds what the signatures of a message need: keys in the DNS, all of them at once, and hashes of the body.
struct SignatureLookup: Sendable {
    private enum Piece: Sendable {
        case key(DNSName, KeyAnswer)
        case bodies([BodyHashKind: BodyHash])
    }

    /// What was found.
    struct Found: Sendable {
        var keys: [DNSName: KeyAnswer] = [:]
        var bodies: [BodyHashKind: BodyHash] = [:]
    }

    let resolver: any NameResolver
    /// When a key is of no use any more.
    let deadline: ContinuousClock.Instant

    /// - Throws: ``PluginError`` if the message cannot be read.
    func find(
        _ names: [DNSName],
        _ hashes: BodyHashes,
        of body: MessageBody
    ) async throws -> Found {
        if names.isEmpty { return Found() }
        return try await withThrowingTaskGroup(of: Piece.self) { group in
            for name in names {
                group.addTask {
                    let answer = await self.key(name)
                    return .key(name, answer)
                }
            }
            group.addTask {
                let bodies = try await hashes.hashed(body)
                return .bodies(bodies)
            }
            var found = Found()
            for try await piece in group {
                switch piece {
                case .key(let name, let answer): found.keys[name] = answer
                case .bodies(let bodies): found.bodies = bodies
                }
            }
            return found
        }
    }

    private func key(_ name: DNSName) async -> KeyAnswer {
        switch await self.resolver.query(name, .txt, deadline: self.deadline) {
        case .records(let records):
            return .records(
                records.compactMap { if case .text(let octets) = $0 { octets } else { nil } }
            )

        case .nxdomain, .nodata: return .none
        case .failure: return .failed
        }
    }
}

extension BodyHashes {
    /// The hashes of a message's body, read chunk by chunk, on threads that may be busy.
    ///
    /// The empty line behind the header does not belong to it.
    func hashed(_ body: MessageBody) async throws -> [BodyHashKind: BodyHash] {
        var hashes = self
        var isFirst = true
        for try await chunk in body {
            let before = hashes
            let octets =
                isFirst && chunk.starts(with: [0x0D, 0x0A]) ? Array(chunk.dropFirst(2)) : chunk
            isFirst = false
            hashes = try await withBlockingThread {
                var hashes = before
                hashes.received(octets)
                return hashes
            }
        }
        return hashes.finished()
    }
}

extension SignedField {
    init(_ field: HeaderField) {
        self.init(name: field.name.octets, space: field.space.octets, value: field.value.octets)
    }
}
