import MaxMind
package import PolicyKit

/// Notes where a client is, by databases of MaxMind's format.
///
/// See README.md.
package struct GeoIP: ConnectHook, DataPostHook {
    package static let name = "ident/geoip"

    private static let usualFolder = "/usr/local/share/GeoIP"
    /// Names of files with places, the best first, and of files with networks.
    private static let placeFiles = [
        "GeoIP2-City.mmdb", "GeoLite2-City.mmdb", "GeoIP2-Country.mmdb", "GeoLite2-Country.mmdb",
    ]
    private static let networkFiles = ["GeoIP2-ISP.mmdb", "GeoLite2-ASN.mmdb"]

    private let places: WatchedFile<GeoDatabase>?
    private let networks: WatchedFile<GeoDatabase>?
    private let addsHeaders: Bool
    /// Where distances begin.
    private let home: IPAddress?
    /// Kilometres.
    private let tooFar: Int?
    private let rejectedCountries: Set<String>
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) throws {
        let folder = configuration.resolve(
            path: configuration.argument("db_dir", as: .text, default: Self.usualFolder)
        )
        self.addsHeaders = configuration.argument("add_headers", as: .flag, default: true)
        self.home = configuration.argument("distance", as: .address)
        self.tooFar = configuration.argument("too_far", as: .integer(in: 1...20_100))
        self.rejectedCountries = configuration.argument(
            "reject_countries",
            as: .countries,
            default: []
        )
        self.refusal = configuration.refusal()
        if self.tooFar != nil, self.home == nil {
            configuration.record("too_far needs distance: the address that distances begin at")
        }
        self.places = try Self.file(Self.placeFiles, in: folder, configuration)
        self.networks = try Self.file(Self.networkFiles, in: folder, configuration)
        if self.places == nil, self.networks == nil {
            let names = (Self.placeFiles + Self.networkFiles).joined(separator: ", ")
            throw PluginError("db_dir \(folder) has none of \(names)")
        }
        if self.places == nil, self.home != nil || !self.rejectedCountries.isEmpty {
            configuration.record(
                "distance and reject_countries need a file of cities or countries in \(folder)"
            )
        }
    }

    private static func file(
        _ names: [String],
        in folder: String,
        _ configuration: PluginConfiguration
    ) throws -> WatchedFile<GeoDatabase>? {
        for name in names {
            let path = "\(folder)/\(name)"
            guard WatchedFile<GeoDatabase>.isThere(path) else { continue }
            do {
                return try WatchedFile(path, logger: configuration.logger) { path in
                    try GeoDatabase(path: path)
                }
            } catch {
                throw PluginError("\(path): \(error)")
            }
        }
        return nil
    }

    package func subscription(at hook: Hook) -> Subscription? {
        hook == .data_post && !self.addsHeaders ? nil : Subscription()
    }

    package func connect(_ event: ConnectEvent) async throws -> Answer {
        let address = try event.clientAddress()
        if PrivateNetworks.contains(address) { return event.skip("private address") }
        let database = try await self.places?.value()
        var place = database?.place(of: address) ?? GeoPlace()
        if let network = try await self.networks?.value()?.place(of: address) {
            place.network = network.network
            place.networkName = network.networkName
        }
        event.notes[.geoipCountry] = place.country
        event.notes[.geoipCountryName] = place.countryName
        event.notes[.geoipContinent] = place.continent
        event.notes[.geoipCity] = place.city
        event.notes[.geoipASN] = place.network.map { Int($0) }
        var distance: Int?
        if let home, let here = database?.place(of: home)?.position, let there = place.position {
            distance = Int(here.kilometres(to: there).rounded())
        }
        event.notes[.geoipDistance] = distance
        return self.decide(place, distance, event)
    }

    private func decide(_ place: GeoPlace, _ distance: Int?, _ event: ConnectEvent) -> Answer {
        let known = [
            place.continent, place.country, place.city, place.network.map { "AS\($0)" },
            distance.map { "\($0) km" },
        ]
        let words = known.compactMap(\.self).joined(separator: ", ")
        if event.isImmune { return event.skip("immune, \(words)") }
        if let distance, let tooFar, distance > tooFar { event.adjustKarma(by: -1) }
        if let country = place.country, self.rejectedCountries.contains(country) {
            event.adjustKarma(by: -1)
            return event.refuse(
                self.refusal,
                "Mail from \(place.countryName ?? country) is not taken here",
                detail: "7.1"
            )
        }
        return words.isEmpty ? event.skip("nothing is known") : event.info(words)
    }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        let fields = [
            ("Country", event.notes[.geoipCountry]), ("Continent", event.notes[.geoipContinent]),
            ("City", event.notes[.geoipCity]), ("ASN", event.notes[.geoipASN].map { "\($0)" }),
        ]
        for (name, value) in fields {
            event.deleteHeaders(named: "X-GeoIP-\(name)")
            if let value { event.addHeader("X-GeoIP-\(name)", value) }
        }
        return .declined
    }
}

extension NoteKey<String> {
    /// The client's country, two capitals.
    static let geoipCountry = NoteKey("geoip_country", in: .session)
    /// Its name in English.
    static let geoipCountryName = NoteKey("geoip_country_name", in: .session)
    /// Its continent, two capitals.
    static let geoipContinent = NoteKey("geoip_continent", in: .session)
    /// The client's city in English.
    static let geoipCity = NoteKey("geoip_city", in: .session)
}

extension NoteKey<Int> {
    /// The number of the autonomous system that the client is in.
    static let geoipASN = NoteKey("geoip_asn", in: .session)
    /// Kilometres to the client.
    static let geoipDistance = NoteKey("geoip_distance", in: .session)
}

extension ArgumentType<IPAddress> {
    fileprivate static var address: Self {
        Self("an IPv4 or IPv6 address") { IPAddress(parsing: $0) }
    }
}

extension ArgumentType<Set<String>> {
    /// `RU,CN`.
    fileprivate static var countries: Self {
        Self("country codes of two letters with commas between them, as in RU,CN") { word in
            let codes = word.uppercased().split(separator: ",", omittingEmptySubsequences: false)
            let isValid = codes.allSatisfy { code in
                code.utf8.count == 2 && code.utf8.allSatisfy { 0x41...0x5A ~= $0 }
            }
            return isValid ? Set(codes.map { String($0) }) : nil
        }
    }
}
