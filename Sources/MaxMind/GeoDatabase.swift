package import Addresses
internal import CMaxMindDB

/// A file of MaxMind's format 2 that says where addresses are.
///
/// The file is mapped into memory, and stays so as long as the value is used: one that takes its place under the same
/// name does not disturb. A file that is written to while it is mapped may end the process (SIGBUS), as with every
/// program that uses the library.
package final class GeoDatabase: @unchecked Sendable {
    // The library only reads what it has opened, from any thread.
    private let database: UnsafeMutablePointer<MMDB_s>

    /// Opens a file; it blocks.
    ///
    /// - Throws: Why it cannot be used.
    package init(path: String) throws(GeoDatabaseFailure) {
        let database = UnsafeMutablePointer<MMDB_s>.allocate(capacity: 1)
        let code = MMDB_open(path, UInt32(MMDB_MODE_MMAP), database)
        guard code == MMDB_SUCCESS else {
            database.deallocate()
            throw GeoDatabaseFailure(MMDB_strerror(code).map { String(cString: $0) } ?? "\(code)")
        }
        self.database = database
    }

    deinit {
        MMDB_close(self.database)
        self.database.deallocate()
    }

    /// What the file is, as in `GeoLite2-City`.
    package var type: String {
        self.database.pointee.metadata.database_type.map { String(cString: $0) } ?? ""
    }

    /// What is known of an address; `nil` if nothing is, or if the file is damaged there.
    package func place(of address: IPAddress) -> GeoPlace? {
        var entry = MMDB_entry_s()
        let octets = address.octets
        guard gatepost_mmdb_find(self.database, octets, Int32(octets.count), &entry) == 1 else {
            return nil
        }
        var place = GeoPlace()
        place.country = Self.text(&entry, "country", "iso_code", nil)
        place.countryName = Self.text(&entry, "country", "names", "en")
        place.continent = Self.text(&entry, "continent", "code", nil)
        place.city = Self.text(&entry, "city", "names", "en")
        place.network = Self.number(&entry, "autonomous_system_number", nil)
            .flatMap { UInt32(exactly: $0) }
        place.networkName = Self.text(&entry, "autonomous_system_organization", nil, nil)
        if let latitude = Self.number(&entry, "location", "latitude"),
            let longitude = Self.number(&entry, "location", "longitude"),
            abs(latitude) <= 90, abs(longitude) <= 180
        {
            place.position = GeoPosition(latitude: latitude, longitude: longitude)
        }
        return place
    }

    /// The text at the end of a path of names; octets that are no UTF-8 become U+FFFD.
    private static func text(
        _ entry: inout MMDB_entry_s,
        _ first: String,
        _ second: String?,
        _ third: String?
    ) -> String? {
        var count: UInt32 = 0
        let found = gatepost_mmdb_text(&entry, first, second, third, &count)
        guard let start = found, (1...1_024).contains(count) else { return nil }
        let octets = UnsafeRawBufferPointer(start: start, count: Int(count))
        return String(decoding: octets, as: UTF8.self)
    }

    private static func number(
        _ entry: inout MMDB_entry_s,
        _ first: String,
        _ second: String?
    ) -> Double? {
        var number = 0.0
        guard gatepost_mmdb_number(&entry, first, second, &number) == 1 else { return nil }
        return number
    }
}

/// Why a file cannot be used.
package struct GeoDatabaseFailure: Error, Sendable, Equatable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}

/// What is known of an address.
package struct GeoPlace: Sendable, Equatable {
    /// ISO 3166-1: two capitals.
    package var country: String?
    /// In English.
    package var countryName: String?
    /// Two capitals: AF, AN, AS, EU, NA, OC, SA.
    package var continent: String?
    /// In English.
    package var city: String?
    package var position: GeoPosition?
    /// The number of the autonomous system.
    package var network: UInt32?
    /// Who runs it.
    package var networkName: String?

    package init() {}
}
