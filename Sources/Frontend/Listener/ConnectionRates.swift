import Addresses

/// How many connections came from each client within a minute, in a table of fixed size.
///
/// A client's minute begins with its first connection, and when it is over with the next one. A
/// client can stand in eight places of the table only. If other clients hold all eight, the one with
/// the fewest connections is forgotten: its count begins again. So many clients at once can hide
/// small counts, never large ones, and a full table refuses no client.
struct ConnectionRates {
    /// How long connections are counted together, in milliseconds.
    static let periodMS: Int64 = 60_000
    /// The places where a client can stand.
    private static let ways = 8

    private struct Place {
        var client = IPAddress(ipv4: 0)
        /// 0: the place is free.
        var connections = 0
        /// Monotonic milliseconds.
        var endsAt = Int64.min
    }

    /// A power of two.
    private let groups: Int
    /// Empty until the first connection is counted.
    private var places: [Place] = []

    /// `groups` of eight clients each, a power of two; by default 16,384 clients, in a megabyte.
    init(groups: Int = 2_048) {
        self.groups = groups
    }

    /// Counts a connection of `client`, unless that would be more than `most` in its minute.
    ///
    /// `most` of 0 is no limit, and nothing is counted then; `now` is monotonic milliseconds.
    mutating func admits(_ client: IPAddress, most: Int, now: Int64) -> Bool {
        guard most > 0 else { return true }
        if self.places.isEmpty {
            self.places = Array(repeating: Place(), count: self.groups * Self.ways)
        }
        let index = self.place(of: client, now: now)
        guard self.places[index].connections < most else { return false }
        self.places[index].connections += 1
        return true
    }

    /// The place where `client` stands from now on, counted from 0 if its minute begins.
    private mutating func place(of client: IPAddress, now: Int64) -> Int {
        let first = (client.hashValue & (self.groups - 1)) * Self.ways
        var best = first
        for index in first..<first + Self.ways {
            if self.places[index].endsAt <= now { self.places[index].connections = 0 }
            let place = self.places[index]
            if place.connections > 0, place.client == client { return index }
            if place.connections < self.places[best].connections { best = index }
        }
        self.places[best] = Place(client: client, connections: 0, endsAt: now + Self.periodMS)
        return best
    }
}
