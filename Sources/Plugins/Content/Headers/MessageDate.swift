/// The moment that a message's Date field names.
///
/// RFC 5322 §3.3, with the years of two and three digits and the zone names of §4.3. Comments are
/// skipped.
struct MessageDate {
    /// Unix time.
    let seconds: Int64

    private static let months = [
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ]
    private static let zones = [
        "ut": 0, "gmt": 0, "z": 0, "edt": -4, "est": -5, "cdt": -5, "cst": -6, "mdt": -6,
        "mst": -7, "pdt": -7, "pst": -8,
    ]

    /// Reads a field's value; `nil` if it is no date.
    init?(_ value: [UInt8]) {
        var words = Self.words(value)
        if words.first?.contains(where: \.isNumber) == false {
            words.removeFirst()  // the day of the week
        }
        guard words.count >= 4, let day = Int64(words[0]), 1...31 ~= day,
            let month = Self.months.firstIndex(of: String(words[1].prefix(3))),
            let year = Self.year(words[2]), let time = Self.time(words[3])
        else { return nil }
        let zone = words.count > 4 ? Self.zone(words[4]) : 0
        let days = Self.days(year: year, month: Int64(month) + 1, day: day)
        self.seconds = days * 86_400 + time - zone
    }

    /// The words in lower case; commas and comments separate like white space.
    private static func words(_ value: [UInt8]) -> [String] {
        var text: [UInt8] = []
        var depth = 0
        for octet in value.prefix(1_000) {
            switch octet {
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")"): depth = max(0, depth - 1)
            case UInt8(ascii: ","), 0x09, 0x0A, 0x0D: text.append(0x20)
            default: text.append(depth > 0 ? 0x20 : octet)
            }
        }
        return String(decoding: text, as: UTF8.self).lowercased()
            .split(separator: " ")
            .map { String($0) }
    }

    private static func year(_ word: String) -> Int64? {
        guard 2...4 ~= word.count, let year = Int64(word), year >= 0 else { return nil }
        switch word.count {
        case 2: return year < 50 ? 2000 + year : 1900 + year
        case 3: return 1900 + year
        default: return year
        }
    }

    private static func time(_ word: String) -> Int64? {
        let parts = word.split(separator: ":").compactMap { Int64($0) }
        guard parts.count == 2 || parts.count == 3, 0...23 ~= parts[0], 0...59 ~= parts[1]
        else { return nil }
        let second = parts.count == 3 ? parts[2] : 0
        return 0...60 ~= second ? parts[0] * 3_600 + parts[1] * 60 + second : nil
    }

    /// Seconds east of Greenwich; an unknown zone counts as none, RFC 5322 §4.3.
    private static func zone(_ word: String) -> Int64 {
        if let hours = self.zones[word] { return Int64(hours) * 3_600 }
        guard word.count == 5, let number = Int64(word.dropFirst()), 0...9_999 ~= number
        else { return 0 }
        let seconds = number / 100 * 3_600 + number % 100 * 60
        return word.hasPrefix("-") ? -seconds : seconds
    }

    /// Days from 1970-01-01 to a date of the Gregorian calendar.
    private static func days(year: Int64, month: Int64, day: Int64) -> Int64 {
        let shifted = month > 2 ? year : year - 1
        let era = shifted / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }
}
