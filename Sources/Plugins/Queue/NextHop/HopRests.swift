import NIOCore
import PolicyKit

/// Which hops are left alone for a while because they failed.
///
/// Told the time; asks no clock.
struct HopRests: Sendable {
    /// How long a hop that failed is left alone.
    let time: TimeAmount
    private var until: [ServerAddress: NIODeadline] = [:]

    init(time: TimeAmount) { self.time = time }

    mutating func failed(_ address: ServerAddress, at now: NIODeadline) {
        self.until[address] = now + self.time
    }

    mutating func worked(_ address: ServerAddress) { self.until[address] = nil }

    /// The hops to try, in the order in which they are written: all that do not rest, or all if every
    /// one rests.
    func order(_ route: [ServerAddress], at now: NIODeadline) -> [ServerAddress] {
        let awake = route.filter { address in self.until[address].map { $0 <= now } ?? true }
        return awake.isEmpty ? route : awake
    }
}
