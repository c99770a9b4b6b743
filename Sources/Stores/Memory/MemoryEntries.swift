import PolicyProtocol

/// The entries, and which of them expire next.
struct MemoryEntries {
    struct Entry {
        var value: Bytes
        var expiry: EntryExpiry?
    }

    /// The most octets.
    let capacity: Int

    private(set) var entries: [Bytes: Entry] = [:]
    /// What the entries take.
    private var octets = 0
    /// Keys by when they expire, the next first: a binary heap.
    ///
    /// What stands here and not so in ``entries`` was set again or removed since.
    private(set) var expiries: [(time: Int64, key: Bytes)] = []

    private var clock = EntryClock()

    init(capacity: Int) {
        self.capacity = capacity
    }

    /// Learns the time, before anything else is done.
    mutating func notice(_ now: Int64) {
        guard self.clock.isSetBack(now) else { return }
        for (key, entry) in self.entries {
            guard let expiry = entry.expiry, expiry.left(now) > .milliseconds(expiry.lifetime)
            else { continue }
            self.entries[key]?.expiry?.time = now + expiry.lifetime
        }
        self.rebuild()
    }

    /// `nil` if there is none or it has expired.
    func entry(_ key: Bytes, _ now: Int64) -> Entry? {
        guard let entry = self.entries[key], entry.expiry.map({ $0.time > now }) ?? true else {
            return nil
        }
        return entry
    }

    mutating func set(
        _ key: Bytes,
        to value: Bytes,
        _ lifetime: Duration?,
        _ now: Int64
    ) throws(StoreError) {
        self.removeExpired(now)
        let expiry = lifetime.map { EntryExpiry($0, now: now) }
        if expiry?.lifetime == 0 { return self.remove(key) }
        let before = self.entries[key].map { Self.size(key, $0.value) } ?? 0
        let after = self.octets - before + Self.size(key, value)
        guard after <= self.capacity else { throw StoreError(.full, "\(self.capacity) octets") }
        self.octets = after
        self.entries[key] = Entry(value: value, expiry: expiry)
        guard let expiry else { return }
        self.expiries.append((expiry.time, key))
        self.moveUp()
        // Without this a key that is set again and again would fill the heap.
        if self.expiries.count > 2 * self.entries.count + 64 { self.rebuild() }
    }

    /// Changes the value of a key that is there, and not when it expires.
    mutating func replace(_ key: Bytes, _ value: Bytes) {
        guard let before = self.entries[key]?.value else { return }
        self.octets += value.octets.count - before.octets.count
        self.entries[key]?.value = value
    }

    mutating func remove(_ key: Bytes) {
        guard let entry = self.entries.removeValue(forKey: key) else { return }
        self.octets -= Self.size(key, entry.value)
    }

    private static func size(_ key: Bytes, _ value: Bytes) -> Int {
        key.octets.count + value.octets.count + MemoryStore.entryOctets
    }

    func scan(_ prefix: Bytes, _ limit: Int, _ now: Int64) -> [StoreEntry] {
        var found: [StoreEntry] = []
        for key in self.entries.keys where key.octets.starts(with: prefix.octets) {
            guard found.count < limit else { break }
            guard let entry = self.entry(key, now) else { continue }
            found.append(StoreEntry(key: key, entry, now: now))
        }
        return found
    }

    private mutating func removeExpired(_ now: Int64) {
        while let next = self.expiries.first, next.time <= now {
            if self.entries[next.key]?.expiry?.time == next.time { self.remove(next.key) }
            self.expiries.swapAt(0, self.expiries.count - 1)
            self.expiries.removeLast()
            self.moveDown()
        }
    }

    private mutating func rebuild() {
        self.expiries = self.entries.compactMap { key, entry in
            entry.expiry.map { ($0.time, key) }
        }
        // A sorted array is a heap.
        self.expiries.sort { $0.time < $1.time }
    }

    /// Puts the last element where it belongs.
    private mutating func moveUp() {
        var index = self.expiries.count - 1
        while index > 0 {
            let parent = (index - 1) / 2
            guard self.expiries[index].time < self.expiries[parent].time else { return }
            self.expiries.swapAt(index, parent)
            index = parent
        }
    }

    /// Puts the first element where it belongs.
    private mutating func moveDown() {
        var index = 0
        while true {
            var least = index
            for child in 2 * index + 1...2 * index + 2 where child < self.expiries.count {
                if self.expiries[child].time < self.expiries[least].time { least = child }
            }
            guard least != index else { return }
            self.expiries.swapAt(index, least)
            index = least
        }
    }
}

extension StoreEntry {
    init(key: Bytes, _ entry: MemoryEntries.Entry, now: Int64) {
        self.init(key: key, value: entry.value, expiresIn: entry.expiry?.left(now))
    }
}
