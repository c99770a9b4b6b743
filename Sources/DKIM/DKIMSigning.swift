internal import DomainNames
internal import Octets
package import SignatureKeys

/// Makes the DKIM-Signature of a message, relaxed in header and body (RFC 6376 §5).
package struct DKIMSigning: Sendable {
    /// Fields that nobody may add behind us: each is named once more than it is there (RFC 6376 §8.15).
    private static let sealed = [
        "From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "In-Reply-To",
        "References", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    ]
    /// Fields that are signed if they are there.
    private static let signed = [
        "Content-Disposition", "Content-Description", "Content-ID", "Resent-Date", "Resent-From",
        "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID", "List-Id", "List-Help",
        "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner",
        "List-Archive", "Autocrypt", "Feedback-ID",
    ]
    /// The most fields of one name that are signed.
    private static let maximumOfOneName = 20

    private let fields: HeaderIndex
    private let now: Int64
    private let names: [[UInt8]]

    /// - Parameters:
    ///   - fields: The fields of the header, from the top, as the message goes out.
    ///   - now: Unix time, in seconds.
    package init(_ fields: [SignedField], now: Int64) {
        self.fields = HeaderIndex(fields)
        self.now = now
        var names: [[UInt8]] = []
        for name in Self.sealed + Self.signed {
            let octets = name.utf8.map(\.lowerCased)
            let count = min(self.fields.count(octets), Self.maximumOfOneName)
            let isSealed = Self.sealed.contains(name)
            names += Array(repeating: octets, count: isSealed ? count + 1 : count)
        }
        self.names = names
    }

    /// The hash of the body that is signed; the body is to be fed to it.
    package static var bodyHashes: BodyHashes { BodyHashes([BodyHashKind(.relaxed)]) }

    /// The value of the field, as it follows the colon.
    ///
    /// - Returns: `nil` if the key cannot sign.
    package func value(
        _ key: PrivateKey,
        _ domain: SigningDomain,
        bodies: [BodyHashKind: BodyHash]
    ) -> [UInt8]? {
        guard let body = bodies[BodyHashKind(.relaxed)] else { return nil }
        let algorithm: SignatureAlgorithm = key.kind == .rsa ? .rsaSHA256 : .ed25519SHA256
        var writer = FoldedTags()
        writer.add("v=1;")
        writer.add("a=\(algorithm.rawValue);")
        writer.add("c=relaxed/relaxed;")
        writer.add("d=\(domain.domain.text);")
        writer.add("s=\(domain.selector);")
        writer.add("t=\(self.now);")
        for (index, name) in self.names.enumerated() {
            let text = String(decoding: name, as: UTF8.self)
            let end = index == self.names.count - 1 ? ";" : ":"
            writer.add("\(index == 0 ? "h=" : "")\(text)\(end)", isApart: index == 0)
        }
        writer.add("bh=\(Base64.encode(body.digest));")
        writer.add("b=")
        let own = SignedField(name: Array("DKIM-Signature".utf8), value: writer.octets)
        let digest = HeaderHash.digest(of: self.fields, self.names, .relaxed, own: own)
        guard let signature = key.signature(of: digest) else { return nil }
        writer.addPieces(Base64.encoded(signature))
        return writer.octets
    }
}

/// A list of tags as the value of a field, folded.
private struct FoldedTags {
    private static let lineOctets = 76

    private(set) var octets: [UInt8] = []
    /// Octets of the line so far, of the first one with the field's name.
    private var line = "DKIM-Signature:".utf8.count

    /// Adds a word, with a space or a fold before it; not `isApart`: a fold, or nothing.
    mutating func add(_ word: String, isApart: Bool = true) {
        let count = word.utf8.count
        if self.line + 1 + count > Self.lineOctets {
            self.fold()
        } else if isApart {
            self.octets.append(.space)
            self.line += 1
        }
        self.octets += word.utf8
        self.line += count
    }

    /// Adds octets that may be cut anywhere.
    mutating func addPieces(_ octets: [UInt8]) {
        var rest = octets[...]
        while !rest.isEmpty {
            if self.line >= Self.lineOctets { self.fold() }
            let piece = rest.prefix(Self.lineOctets - self.line)
            self.octets += piece
            self.line += piece.count
            rest = rest.dropFirst(piece.count)
        }
    }

    private mutating func fold() {
        self.octets += [.carriageReturn, .lineFeed, .tab]
        self.line = 1
    }
}
