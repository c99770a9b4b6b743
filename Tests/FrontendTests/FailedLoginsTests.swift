import Testing

@testable import Frontend

struct FailedLoginsTests {
    @Test func `an address has so many failures, until none was for a while`() {
        var logins = FailedLogins()
        for now in [0, 900] as [Int64] {
            #expect(logins.mayLogIn("a", most: 2, now: now))
            logins.failed("a", rememberedMS: 1_000, now: now)
        }
        #expect(!logins.mayLogIn("a", most: 2, now: 1_899))
        #expect(logins.mayLogIn("a", most: 0, now: 1_899))
        #expect(logins.mayLogIn("b", most: 2, now: 1_899))
        #expect(logins.mayLogIn("a", most: 2, now: 1_900))
        logins.failed("a", rememberedMS: 1_000, now: 1_900)
        #expect(logins.mayLogIn("a", most: 2, now: 1_901))
    }

    @Test func `the table has a limit, and what is over makes room`() {
        var logins = FailedLogins()
        for number in 0..<FailedLogins.capacity {
            logins.failed("\(number)", rememberedMS: number == 0 ? 100_000 : 1_000, now: 0)
        }
        logins.failed("late", rememberedMS: 1_000, now: 1)
        #expect(logins.mayLogIn("late", most: 1, now: 2))
        #expect(!logins.mayLogIn("1", most: 1, now: 2))
        logins.failed("late", rememberedMS: 1_000, now: 2_000)
        #expect(!logins.mayLogIn("late", most: 1, now: 2_001))
        #expect(!logins.mayLogIn("0", most: 1, now: 2_001))
    }
}
