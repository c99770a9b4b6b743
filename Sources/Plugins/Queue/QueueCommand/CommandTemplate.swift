/// The words of a command, with places for the envelope.
///
/// No shell reads them.
///
/// White space separates words; what stands between single quotes is one word. `%s` is the sender, `%r` the
/// recipient, `%q` the name under which the message is logged, `%%` a percent sign. A word that is `%r` alone
/// becomes one word a recipient.
struct CommandTemplate: Sendable, Equatable {
    enum Piece: Sendable, Equatable {
        case text(String)
        case sender, recipient, queueID
    }

    /// Words made of pieces; the first is the program.
    let words: [[Piece]]

    /// Reads one; `nil` if it is none: no word, a quote that is not closed, another letter behind `%`, a
    /// place in the program's name, or `%r` within a word, where several recipients have no place.
    ///
    /// - Parameters:
    ///   - text: As the operator wrote it.
    ///   - isForEach: Whether the command is run for one recipient at a time.
    init?(_ text: String, isForEach: Bool) {
        guard let words = Self.split(text), !words.isEmpty else { return nil }
        var found: [[Piece]] = []
        for word in words {
            guard let pieces = Self.pieces(word) else { return nil }
            if !isForEach, pieces.count > 1, pieces.contains(.recipient) { return nil }
            found.append(pieces)
        }
        self.words = found
        guard !self.program.isEmpty else { return nil }
    }

    /// The program as it was written.
    var program: String {
        guard let pieces = self.words.first, pieces.count == 1,
            case .text(let program)? = pieces.first
        else { return "" }
        return program
    }

    /// Why an address would be read as an option; `nil` if none would.
    ///
    /// A word that begins with a place, with an address that begins with `-` in it, and no `--` before.
    func isOption(_ address: String, in place: Piece) -> Bool {
        guard address.hasPrefix("-") else { return false }
        let end = self.words.firstIndex(of: [.text("--")]) ?? self.words.endIndex
        return self.words[..<end].contains { $0.first == place }
    }

    /// The arguments: what follows the program.
    func arguments(sender: String, recipients: [String], queueID: String) -> [String] {
        self.words.dropFirst().flatMap { pieces -> [String] in
            if pieces == [.recipient] { return recipients }
            return [
                pieces.map { piece in
                    switch piece {
                    case .text(let text): text
                    case .sender: sender
                    case .recipient: recipients.first ?? ""
                    case .queueID: queueID
                    }
                }.joined()
            ]
        }
    }

    private static func split(_ text: String) -> [String]? {
        var words: [String] = []
        var word: String?
        var isQuoted = false
        for character in text.unicodeScalars {
            switch character {
            case "'":
                isQuoted.toggle()
                word = word ?? ""
            case " " where !isQuoted, "\t" where !isQuoted:
                if let finished = word { words.append(finished) }
                word = nil
            default: word = (word ?? "") + String(character)
            }
        }
        guard !isQuoted else { return nil }
        if let finished = word { words.append(finished) }
        return words
    }

    private static func pieces(_ word: String) -> [Piece]? {
        var pieces: [Piece] = []
        var text = ""
        var rest = word.unicodeScalars[...]
        while let scalar = rest.popFirst() {
            guard scalar == "%" else {
                text.unicodeScalars.append(scalar)
                continue
            }
            let piece: Piece
            switch rest.popFirst() {
            case "%"?:
                text += "%"
                continue
            case "s"?: piece = .sender
            case "r"?: piece = .recipient
            case "q"?: piece = .queueID
            default: return nil
            }
            if !text.isEmpty { pieces.append(.text(text)) }
            text = ""
            pieces.append(piece)
        }
        if !text.isEmpty || pieces.isEmpty { pieces.append(.text(text)) }
        return pieces
    }
}
