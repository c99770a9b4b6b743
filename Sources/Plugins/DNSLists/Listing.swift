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
    /// The lists that have a subject, each once, however many it has.
    private let lists: [DNSList]

    init(_ answers: [ListAnswer]) {
        var entries: [Entry] = []
        var lists: [DNSList] = []
        for answer in answers {
            guard case .listed(let codes, let text) = answer.finding else { continue }
            entries.append(
                Entry(list: answer.list, subject: answer.subject, codes: codes, text: text)
            )
            if !lists.contains(where: { $0.zone == answer.list.zone }) { lists.append(answer.list) }
        }
        self.entries = entries
        self.lists = lists
    }

    /// What the weights of the lists add up to.
    var sum: Int { self.lists.reduce(0) { $0 + $1.weight } }

    /// The zones of the lists, in their order.
    var zones: [String] { self.lists.map(\.zone.text) }

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
