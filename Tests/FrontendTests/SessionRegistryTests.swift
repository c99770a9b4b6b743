import Testing

@testable import Frontend

struct SessionRegistryTests {
    private final class Session: RestingSession {
        var rest: SessionRest?
    }

    /// The ticks, counted from 1, that look at `session`, of so many.
    private static func visits(
        _ registry: inout SessionRegistry<Session>,
        _ session: Session,
        ticks: Int
    ) -> [Int] {
        (1...ticks).filter { _ in registry.ticked().contains { $0 === session } }
    }

    @Test func `each tick looks at a session that does not rest`() {
        var registry = SessionRegistry<Session>()
        let session = Session()
        registry.opened(session)
        #expect(Self.visits(&registry, session, ticks: 3) == [1, 2, 3])
        #expect(registry.restingCount == 0)
    }

    @Test(arguments: [
        // Half of what is left, at least one tick, at most what the ring holds.
        (left: 0 as Int64, tick: 1), (left: 1, tick: 1), (left: 2, tick: 1), (left: 7, tick: 3),
        (left: 100, tick: 50), (left: 126, tick: 63), (left: 128, tick: 63),
        (left: .max, tick: 63), (left: -5, tick: 1),
    ])
    func `a resting session is looked at when half of its time is over`(left: Int64, tick: Int) {
        // The ring turns: its place must not matter.
        for earlier in [0, 1, 63, 64, 1_000] {
            var registry = SessionRegistry<Session>()
            for _ in 0..<earlier { _ = registry.ticked() }
            let session = Session()
            registry.opened(session)
            registry.rests(session, ticks: left, heldOctets: 10)
            #expect(registry.restingCount == 1)
            #expect(registry.restingOctets == 10)
            #expect(Self.visits(&registry, session, ticks: tick) == [tick])
            #expect(session.rest == nil)
            #expect((registry.restingCount, registry.restingOctets) == (0, 0))
        }
    }

    @Test func `a session that is woken is looked at in the next tick, and once`() {
        var registry = SessionRegistry<Session>()
        let session = Session()
        registry.opened(session)
        registry.rests(session, ticks: 20, heldOctets: 10)
        registry.woken(session)
        registry.woken(session)
        #expect((session.rest, registry.restingOctets) == (nil, 0))
        #expect(Self.visits(&registry, session, ticks: 1) == [1])
        // It rests again, for longer: the tick of its first rest does not look at it.
        registry.rests(session, ticks: 60, heldOctets: 7)
        #expect(
            Self.visits(&registry, session, ticks: 40) == [
                30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
            ]
        )
        #expect(registry.restingOctets == 0)
    }

    @Test func `a session that ended is not looked at, and holds nothing`() {
        var registry = SessionRegistry<Session>()
        let (resting, other) = (Session(), Session())
        registry.opened(resting)
        registry.opened(other)
        registry.rests(resting, ticks: 4, heldOctets: 10)
        registry.closed(resting)
        #expect((registry.count, registry.restingOctets) == (1, 0))
        #expect(Self.visits(&registry, resting, ticks: 70).isEmpty)
        // What is not open does not rest.
        registry.rests(resting, ticks: 4, heldOctets: 10)
        #expect((resting.rest, registry.restingOctets) == (nil, 0))
        registry.closed(other)
        #expect(registry.all.isEmpty)
    }

    @Test func `a session rests once at a time`() {
        var registry = SessionRegistry<Session>()
        let session = Session()
        registry.opened(session)
        registry.rests(session, ticks: 20, heldOctets: 10)
        registry.rests(session, ticks: 2, heldOctets: 10)
        #expect(registry.restingOctets == 10)
        #expect(Self.visits(&registry, session, ticks: 10) == [10])
    }
}
