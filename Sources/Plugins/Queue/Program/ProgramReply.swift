import PolicyKit
import System

/// What exit codes and the words of a program mean to the client.
enum ProgramReply {
    /// The most lines of a program that a reply has.
    private static let maximumLines = 5

    private struct Meaning {
        let code: Int
        let status: String
        let text: String
    }

    /// Those of sysexits.h, with the status codes that Postfix's pipe(8) gives them where they are about the
    /// message or its recipient, and two of qmail's.
    ///
    /// Where they are about the program, its configuration or this machine, the message is not to blame: it is put off.
    private static let meanings: [Int32: Meaning] = [
        65: Meaning(code: 554, status: "5.6.0", text: "The message cannot be read"),
        67: Meaning(code: 550, status: "5.1.1", text: "No such user"),
        68: Meaning(code: 550, status: "5.1.2", text: "No such host"),
        69: Meaning(code: 554, status: "5.3.0", text: "The service is not available"),
        73: Meaning(code: 550, status: "5.2.0", text: "The mailbox cannot be made"),
        76: Meaning(code: 554, status: "5.5.0", text: "The message was refused"),
        77: Meaning(code: 550, status: "5.7.0", text: "Permission denied"),
        100: Meaning(code: 554, status: "5.3.0", text: "The message was refused"),
    ]

    /// The answer for a program that ended by itself.
    ///
    /// - Parameters:
    ///   - ending: How it ended.
    ///   - queueID: What 250 names.
    /// - Returns: `ok` only for exit code 0 of a program that read everything. A refusal has the program's words, if it wrote
    ///   any, and the status code that they begin with, if that fits.
    static func answer(_ ending: Handover.Ending, queueID: String) -> Answer {
        guard ending.code != 0 else {
            return ending.hasTakenAll
                ? .ok("queued as \(queueID)", code: 250, status: "2.0.0") : QueueProgram.tryAgain
        }
        let words = ending.output.isEmpty ? ending.messages : ending.output
        let usual =
            self.meanings[ending.code]
            ?? Meaning(
                code: 451,
                status: "4.3.0",
                text: "Could not hand the message on, try again"
            )
        var lines = self.lines(of: words)
        var status = usual.status
        if let own = lines.first.flatMap({ self.status(of: $0) }),
            own.hasPrefix("\(usual.code / 100)")
        {
            status = own
            lines[0] = String(lines[0].dropFirst(own.count).drop { $0 == " " })
            if lines[0].isEmpty { lines.removeFirst() }
        }
        if lines.isEmpty { lines = [usual.text] }
        return Answer(
            usual.code / 100 == 5 ? .deny : .denysoft,
            PolicyReply(code: usual.code, status: status, fitting: lines.map(\.utf8))
        )
    }

    /// The first lines that say something, printable and not too long.
    static func lines(of octets: [UInt8]) -> [String] {
        let lines = octets.split { $0 == 0x0A || $0 == 0x0D }.prefix(self.maximumLines)
        let reply = PolicyReply(code: 250, status: nil, fitting: lines)
        return reply.text.filter { !$0.allSatisfy { $0 == " " } }
    }

    /// The enhanced status code (RFC 3463 §2) that a line begins with; `nil` if there is none.
    static func status(of line: String) -> String? {
        let word = line.prefix { $0 != " " }
        let parts = word.split(separator: ".", omittingEmptySubsequences: false)
        let isStatus =
            parts.count == 3 && ["2", "4", "5"].contains(parts[0])
            && parts.dropFirst().allSatisfy { part in
                (1...3).contains(part.utf8.count) && part.utf8.allSatisfy { 0x30...0x39 ~= $0 }
            }
        return isStatus ? String(word) : nil
    }
}

extension Handover.Ending {
    /// The same, of a program whose words are not for the client.
    var withoutWords: Self {
        Self(code: self.code, hasTakenAll: self.hasTakenAll, output: [], messages: [])
    }
}
