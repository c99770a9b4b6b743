/// Finds the word that a misspelt word most resembles.
package enum NearestWord {
    /// `did you mean "deadline_ms"?`, or all of `words` if no word resembles it.
    package static func suggestion(for word: String, among words: [String]) -> String {
        guard let nearest = Self.nearest(to: word, among: words) else {
            return "remove it, or write one of: \(words.sorted().joined(separator: ", "))"
        }
        return "did you mean \"\(nearest)\"?"
    }

    /// The word with the fewest changed letters, if they are at most a third of it.
    static func nearest(to word: String, among words: [String]) -> String? {
        let ranked = words.map { (word: $0, distance: Self.distance(word, $0)) }
        guard let best = ranked.min(by: { $0.distance < $1.distance }) else { return nil }
        return best.distance <= max(2, word.utf8.count / 3) ? best.word : nil
    }

    /// Levenshtein's distance, in octets.
    private static func distance(_ first: String, _ second: String) -> Int {
        let columns = Array(second.utf8)
        var previous = Array(0...columns.count)
        for (row, octet) in first.utf8.enumerated() {
            var current = [row + 1]
            for (column, other) in columns.enumerated() {
                let substitution = previous[column] + (octet == other ? 0 : 1)
                current.append(min(substitution, previous[column + 1] + 1, current[column] + 1))
            }
            previous = current
        }
        return previous[columns.count]
    }
}
