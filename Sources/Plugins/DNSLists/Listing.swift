import PolicyKit

/// What lists together say: the sum of their weights, and a text about the one that counts most.
struct Listing: Sendable {
    /// A list that has a subject.
    struct Entry: Sendable {
        let list: DNSList
        let subject: ListSubject
        let codes: [IPAddress]
        let text: String?
    }

    let entries: [Entry]
    /// What the weights add up to.
    ///
    /// A list counts once, however many subjects it has.
    let sum: Int

    init(_ answers: [ListAnswer]) {
        var entries: [Entry] = []
        for answer in answers {
            guard case .listed(let codes, let text) = answer.finding else { continue }
            entries.append(
                Entry(list: answer.list, subject: answer.subject, codes: codes, text: text)
            )
        }
        self.entries = entries
        var counted: Set<DNSName> = []
        self.sum = entries.filter { counted.insert($0.list.zone).inserted }
            .reduce(0) { $0 + $1.list.weight }
    }

    /// The zones that list a subject, in their order, each once.
    var zones: [String] {
        var seen: Set<String> = []
        return self.entries.map(\.list.zone.text).filter { seen.insert($0).inserted }
    }

    /// The reply's text: that of the line, else `standard`, else the list's own, else `fallback`, with
    /// `%IP%`, `%DOMAIN%` (both: what is listed), `%ZONE%` and `%CODE%` filled in.
    func text(standard: String?, fallback: String) -> String {
        let heaviest = self.entries.max { $0.list.weight < $1.list.weight }
        guard let entry = heaviest else { return fallback }
        var text = entry.list.text ?? standard ?? entry.text ?? fallback
        let values = [
            "%IP%": "\(entry.subject)", "%DOMAIN%": "\(entry.subject)",
            "%ZONE%": entry.list.zone.text,
            "%CODE%": entry.codes.map { "\($0)" }.joined(separator: ", "),
        ]
        for (mark, value) in values { text = text.replacing(mark, with: value) }
        return text
    }
}

extension HookEvent {
    /// Logs which lists could not be asked, or are not to be believed.
    func report(unusable answers: [ListAnswer]) {
        for answer in answers {
            if case .unusable(let reason) = answer.finding {
                self.error("\(answer.list.zone): \(reason)")
            }
        }
    }
}
