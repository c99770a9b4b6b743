import Octets
import PolicyKit

/// The second argument of `queue/maildir`: a folder below the first for each recipient.
///
/// `%l` is the local part, `%m` the local part in lower case, `%d` the domain in lower case, `%u` the
/// whole address. What is put in can never name another folder than one below: see ``safe(_:)``.
struct MaildirTemplate: Sendable, Equatable {
    private enum Piece: Sendable, Equatable {
        case text(String)
        case local
        case lowerCasedLocal
        case domain
        case address
    }

    private let pieces: [Piece]
    /// How many folders deep a Maildir lies.
    let depth: Int

    /// Reads a template.
    ///
    /// - Returns: `nil` if it has no `%l`, `%m`, `%d` or `%u`, another `%`, or a component that is empty,
    ///   `.` or `..`.
    init?(_ text: String) {
        var pieces: [Piece] = []
        var rest = text[...]
        while let percent = rest.firstIndex(of: "%") {
            if percent > rest.startIndex { pieces.append(.text(String(rest[..<percent]))) }
            rest = rest[rest.index(after: percent)...]
            switch rest.popFirst() {
            case "l": pieces.append(.local)
            case "m": pieces.append(.lowerCasedLocal)
            case "d": pieces.append(.domain)
            case "u": pieces.append(.address)
            default: return nil
            }
        }
        guard !pieces.isEmpty else { return nil }
        if !rest.isEmpty { pieces.append(.text(String(rest))) }
        let components = text.split(separator: "/", omittingEmptySubsequences: false)
        guard components.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }),
            !text.utf8.contains(0)
        else { return nil }
        self.pieces = pieces
        self.depth = components.count
    }

    /// The local part as far as it tells one recipient's mailbox from another's.
    ///
    /// Where the folder has it in lower case alone, `jo` and `JO` are one recipient.
    func mailboxName(local: [UInt8]) -> [UInt8] {
        let keepsCase = self.pieces.contains(.local) || self.pieces.contains(.address)
        return keepsCase || !self.pieces.contains(.lowerCasedLocal)
            ? local : local.map(\.lowerCased)
    }

    /// The folder for one recipient, relative.
    func folder(local: [UInt8], domain: [UInt8]) -> String {
        let lowerCasedLocal = Self.safe(local.map(\.lowerCased))
        let local = Self.safe(local)
        let domain = Self.safe(domain.map(\.lowerCased))
        let folder = self.pieces.reduce(into: "") { folder, piece in
            switch piece {
            case .text(let text): folder += text
            case .local: folder += local
            case .lowerCasedLocal: folder += lowerCasedLocal
            case .domain: folder += domain
            case .address: folder += "\(local)@\(domain)"
            }
        }
        return folder.split(separator: "/", omittingEmptySubsequences: false)
            .map { Self.component($0) }
            .joined(separator: "/")
    }

    /// Each octet but `-A-Za-z0-9+_.,@=` becomes `_`: qpsmtpd's set, and spamd's.
    static func safe(_ octets: [UInt8]) -> String {
        String(
            decoding: octets.map { octet in
                switch octet {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2B...0x2E, 0x3D, 0x40, 0x5F: octet
                default: 0x5F
                }
            },
            as: UTF8.self
        )
    }

    /// A whole component that would mean this folder, the one above, or none, means neither.
    private static func component(_ component: Substring) -> String {
        switch component {
        case "": "_"
        case ".": "_"
        case "..": "__"
        default: String(component)
        }
    }
}
