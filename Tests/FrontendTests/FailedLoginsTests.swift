import Testing

@testable import Frontend

struct FailedLoginsTests {
    @Test func `failures are counted, until none was for a while`() {
        var logins = FailedLogins<String>()
        for (count, now) in [(0, 0), (1, 900)] as [(Int, Int64)] {
            #expect(logins.count("a", now: now) == count)
            logins.failed("a", rememberedMS: 1_000, now: now)
        }
        #expect(logins.count("a", now: 1_899) == 2)
        #expect(logins.count("b", now: 1_899) == 0)
        #expect(logins.count("a", now: 1_900) == 0)
        logins.failed("a", rememberedMS: 1_000, now: 1_900)
        #expect(logins.count("a", now: 1_901) == 1)
    }

    @Test func `the table has a limit, and what is over makes room`() {
        var logins = FailedLogins<String>()
        for number in 0..<FailedLogins<String>.capacity {
            logins.failed("\(number)", rememberedMS: number == 0 ? 100_000 : 1_000, now: 0)
        }
        logins.failed("late", rememberedMS: 1_000, now: 1)
        #expect(logins.count("late", now: 2) == 0)
        #expect(logins.count("1", now: 2) == 1)
        logins.failed("late", rememberedMS: 1_000, now: 2_000)
        #expect(logins.count("late", now: 2_001) == 1)
        #expect(logins.count("0", now: 2_001) == 1)
    }

    @Test func `a user is the same whatever the case of its letters, and no other one`() {
        let user = UserKey(Array("Jo@Example.com".utf8))
        #expect(user == UserKey(Array("jo@eXample.COM".utf8)))
        for other in [
            "", "jo@example.co", "jo@example.comm", "jo@example,com", "J\u{f6}@example.com",
        ] {
            #expect(user != UserKey(Array(other.utf8)))
        }
    }

    /// Else each spelling had a count of its own, and was one more guess.
    @Test func `a user is the same in each spelling that SASLprep makes one`() {
        let user = UserKey(Array("jo@example.com".utf8))
        for other in ["j\u{AD}o@example.com", "\u{FF2A}o@example.com", "jo\u{2060}@example.com"] {
            #expect(user == UserKey(Array(other.utf8)))
        }
        // What SASLprep prohibits counts as it is.
        #expect(UserKey([0xFF, 0x41]) == UserKey([0xFF, 0x61]))
        #expect(UserKey([0xFF]) != UserKey([0xFE]))
    }
}
