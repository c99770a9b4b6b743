import PolicyKit
import System

/// Runs a program: its exit status tells.
struct CommandSource: RecipientSource {
    /// The most octets that a program may print, of which nothing is read.
    private static let outputLimit = 65_536

    let name: String
    private let words: [RecipientTemplate]

    /// - Throws: That the line names no program.
    init(_ configuration: PluginConfiguration) throws {
        let text = try configuration.requiredPositional("command", as: .text)
        let words = text.split(separator: " ").map { RecipientTemplate(String($0)) }
        let known = words.compactMap { $0 }
        guard known.count == words.count, let program = Self.program(of: known) else {
            throw PluginError(
                "<command> is \(text); it must be \"/path/of/the/program WORDS\", "
                    + RecipientTemplate.expectation
            )
        }
        if !Spawn.canStart(program) {
            configuration.record(
                "\(program) cannot be started: name a program that this user may start"
            )
        }
        self.name = text
        self.words = known
    }

    private static func program(of words: [RecipientTemplate]) -> String? {
        guard case .text(let program)? = words.first?.pieces.first, words[0].pieces.count == 1,
            program.hasPrefix("/")
        else { return nil }
        return program
    }

    func finding(
        _ recipient: AskedRecipient,
        until deadline: ContinuousClock.Instant
    ) async -> RecipientFinding {
        guard let words = Self.words(self.words, recipient) else { return .noMailbox }
        let ending = await onThreadOfItsOwn { () -> Result<Int32, Spawn.Failure> in
            Result { () throws(Spawn.Failure) in
                try Spawn.result(of: words, within: deadline - .now, limit: Self.outputLimit).ending
            }
        }
        return switch ending {
        case .success(let ending): Self.finding(ending: ending)
        case .failure(.system(let error)): .unknown("\(error)", isOut: true)
        case .failure: .unknown("it took too long or said too much", isOut: true)
        case nil: .unknown("no thread for it", isOut: true)
        }
    }

    /// What an exit status tells, or below 0 the signal that ended the program.
    static func finding(ending: Int32) -> RecipientFinding {
        switch ending {
        case 0: .exists
        // 67 is EX_NOUSER of sysexits.h.
        case 1, 67: .noMailbox
        case ..<0: .unknown("it was ended by signal \(-ending)", isOut: false)
        default: .unknown("it ended with status \(ending)", isOut: false)
        }
    }

    /// The words for a recipient, whose address is the last one if no word has a place for it.
    ///
    /// - Returns: `nil` if the program would take a value for an option: one that begins with `-` at the start of
    ///   a word, without `--` before it.
    static func words(
        _ templates: [RecipientTemplate],
        _ recipient: AskedRecipient
    ) -> [String]? {
        var templates = templates
        if !templates.contains(where: \.hasRecipient) {
            templates.append(RecipientTemplate(pieces: [.address]))
        }
        var words: [String] = []
        var mayBeOption = true
        for template in templates {
            let word = template.filled(recipient) { String(decoding: $0, as: UTF8.self) }
            let value = template.pieces.first?.value(recipient)
            if mayBeOption, value?.first == UInt8(ascii: "-") { return nil }
            if word == "--" { mayBeOption = false }
            words.append(word)
        }
        return words
    }
}
