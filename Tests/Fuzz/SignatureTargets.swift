import DKIM

/// What DKIM and ARC read: fields of a message, texts of the DNS, bodies.
enum SignatureTargets {
    /// The input is a signature, a key record and a body at once.
    static func play(_ input: [UInt8]) {
        _ = try? KeyRecord(input)
        let from = SignedField(name: Array("From".utf8), value: input)
        let signature = SignedField(name: Array("DKIM-Signature".utf8), value: input)
        let dkim = DKIMVerification([signature, from], now: 0)
        let answers = Dictionary(
            dkim.keyNames.map { ($0, KeyAnswer.records([input])) },
            uniquingKeysWith: { first, _ in first }
        )
        let bodies = self.hashed(dkim.bodyHashes, input)
        for result in dkim.results(keys: answers, bodies: bodies) {
            promise(result.result != .pass, "what was made up passes")
        }
        let sets = ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"].map {
            SignedField(name: Array($0.utf8), value: input)
        }
        let arc = ARCVerification(sets + [from])
        let result = arc.result(keys: [:], bodies: self.hashed(arc.bodyHashes, input))
        promise(result.status == .fail, "a chain that was made up does not fail")
        guard let cut = input.last else { return }
        let kinds: Set = [
            BodyHashKind(.simple), BodyHashKind(.relaxed),
            BodyHashKind(.relaxed, limit: Int64(cut)),
        ]
        var hashes = BodyHashes(kinds)
        for piece in pieces(input[...], cut: cut) { hashes.received(Array(piece)) }
        promise(
            hashes.finished() == self.hashed(BodyHashes(kinds), input),
            "hashes depend on the cut"
        )
    }

    private static func hashed(_ hashes: BodyHashes, _ body: [UInt8]) -> [BodyHashKind: BodyHash] {
        var hashes = hashes
        hashes.received(body)
        return hashes.finished()
    }
}
