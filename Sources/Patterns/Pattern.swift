internal import CPCRE2

/// A regular expression of a control file, in Perl's syntax, compiled once and matched in bounded
/// time.
///
/// The one Swift owner of a compiled PCRE2 pattern. Patterns come from the operator, subjects from
/// strangers: a match that takes more than ``matchLimit`` steps is given up, so that no sender can
/// hold the worker with an address made for a careless pattern.
///
/// Octets are matched as octets, letters of ASCII without regard to case.
///
/// A compiled pattern is never changed after `init`, and PCRE2 keeps the state of a match elsewhere:
/// that makes the `@unchecked Sendable` true.
package final class Pattern: @unchecked Sendable {
    /// The most steps of one match: some milliseconds.
    package static let matchLimit: UInt32 = 100_000
    /// The most KiB of memory of one match.
    private static let heapLimit: UInt32 = 1_024

    /// The expression as it was written.
    package let source: String
    private let code: OpaquePointer
    private let limits: OpaquePointer

    /// Compiles `source`.
    ///
    /// - Throws: ``PatternError`` with PCRE2's own words and the offset of what is wrong.
    package init(_ source: String) throws(PatternError) {
        var code: Int32 = 0
        var offset = 0
        let octets = Array(source.utf8)
        let options = UInt32(PCRE2_CASELESS | PCRE2_NEVER_UTF | PCRE2_NEVER_BACKSLASH_C)
        guard let compiled = pcre2_compile_8(octets, octets.count, options, &code, &offset, nil)
        else { throw PatternError(source, offset: offset, code: code) }
        guard let limits = pcre2_match_context_create_8(nil) else {
            pcre2_code_free_8(compiled)
            throw PatternError(source, offset: 0, code: PCRE2_ERROR_NOMEMORY)
        }
        pcre2_set_match_limit_8(limits, Self.matchLimit)
        pcre2_set_heap_limit_8(limits, Self.heapLimit)
        self.source = source
        self.code = compiled
        self.limits = limits
    }

    deinit {
        pcre2_match_context_free_8(self.limits)
        pcre2_code_free_8(self.code)
    }

    /// What the pattern finds in `subject`: its first group, or if it has none all that it matches.
    ///
    /// - Returns: `nil` if it does not occur; no octets if the group took no part.
    /// - Throws: ``PatternError`` if the limits did not suffice to tell.
    package func firstMatch(in subject: [UInt8]) throws(PatternError) -> [UInt8]? {
        guard let match = pcre2_match_data_create_8(2, nil) else {
            throw PatternError(self.source, offset: 0, code: PCRE2_ERROR_NOMEMORY)
        }
        defer { pcre2_match_data_free_8(match) }
        let result = pcre2_match_8(self.code, subject, subject.count, 0, 0, match, self.limits)
        guard result != PCRE2_ERROR_NOMATCH else { return nil }
        guard result >= 0, let ends = pcre2_get_ovector_pointer_8(match) else {
            throw PatternError(self.source, offset: 0, code: result)
        }
        let first = self.groups > 0 ? 2 : 0
        let (start, end) = (ends[first], ends[first + 1])
        // A group that took no part begins and ends at PCRE2_UNSET.
        guard 0 <= start, start <= end, end <= subject.count else { return [] }
        return Array(subject[start..<end])
    }

    /// How many groups the pattern has.
    private var groups: UInt32 {
        var count: UInt32 = 0
        pcre2_pattern_info_8(self.code, UInt32(PCRE2_INFO_CAPTURECOUNT), &count)
        return count
    }

    /// Whether the pattern occurs in `subject`.
    ///
    /// - Throws: ``PatternError`` if the limits did not suffice to tell.
    package func occurs(in subject: [UInt8]) throws(PatternError) -> Bool {
        guard let match = pcre2_match_data_create_8(1, nil) else {
            throw PatternError(self.source, offset: 0, code: PCRE2_ERROR_NOMEMORY)
        }
        defer { pcre2_match_data_free_8(match) }
        let result = pcre2_match_8(self.code, subject, subject.count, 0, 0, match, self.limits)
        switch result {
        case 0...: return true
        case PCRE2_ERROR_NOMATCH: return false
        default: throw PatternError(self.source, offset: 0, code: result)
        }
    }
}

/// Why a pattern does not compile, or did not come to an end.
package struct PatternError: Error, Sendable, CustomStringConvertible {
    package let description: String

    init(_ source: String, offset: Int, code: Int32) {
        var buffer = [UInt8](repeating: 0, count: 256)
        let length = pcre2_get_error_message_8(code, &buffer, buffer.count)
        let text = String(decoding: buffer.prefix(max(0, Int(length))), as: UTF8.self)
        self.description = "pattern \(source), at octet \(offset): \(text)"
    }
}
