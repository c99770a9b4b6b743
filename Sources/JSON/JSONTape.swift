/// What the strict check found, in the order of the text: every key and value by its place.
///
/// A value's members follow it directly, and it knows where they end, so that a reader steps from
/// sibling to sibling without looking at the text again.
struct JSONTape: Sendable {
    enum Kind: UInt8 {
        case object
        case array
        case string
        case integer
        /// A number with a fraction or an exponent.
        case double
        case `true`
        case `false`
        case null
        /// The value is the next entry.
        case key
    }

    struct Entry {
        /// The text: of an object or array with its brackets, of a string or key without its quotes.
        var start: UInt32
        var end: UInt32
        /// The entry after this one and everything in it; of a key, a few bits of its spelling.
        var next: UInt32
        var kind: Kind
        /// Whether a string or key is spelled with escapes.
        var hasEscape = false

        var place: Range<Int> { Int(self.start)..<Int(self.end) }
    }

    /// Never empty; the outermost value first.
    var entries: [Entry] = []
}
