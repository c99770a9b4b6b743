import Logging
import MaxMind
import PolicyKit
import PolicyKitTesting
import Testing

@testable import StandardPlugins

extension GeoFile {
    /// Places: Berlin, New York, and one of which the country alone is known.
    fileprivate static func cities(berlin: String = "Berlin") -> [UInt8] {
        var file = GeoFile()
        file.add("198.51.100.0", 24, Self.city("DE", "Germany", "EU", berlin, 52.52, 13.40))
        file.add("2001:db8:1::", 48, Self.city("DE", "Germany", "EU", berlin, 52.52, 13.40))
        file.add(
            "203.0.113.0",
            24,
            Self.city("US", "United States", "NA", "New York", 40.71, -74.01)
        )
        file.add("192.0.2.0", 25, .map([("country", .map([("iso_code", .text("NL"))]))]))
        file.add("192.0.2.128", 25, .map([("country", .text("damaged")), ("city", .list([]))]))
        return file.octets(type: "GeoLite2-City")
    }

    private static func city(
        _ code: String,
        _ country: String,
        _ continent: String,
        _ city: String,
        _ latitude: Double,
        _ longitude: Double
    ) -> Value {
        .map([
            (
                "country",
                .map([("iso_code", .text(code)), ("names", .map([("en", .text(country))]))])
            ), ("continent", .map([("code", .text(continent))])),
            ("city", .map([("names", .map([("en", .text(city))]))])),
            (
                "location",
                .map([("latitude", .double(latitude)), ("longitude", .double(longitude))])
            ),
        ])
    }

    fileprivate static var networks: [UInt8] {
        var file = GeoFile()
        file.add(
            "198.51.100.0",
            22,
            .map([
                ("autonomous_system_number", .word(64_500)),
                ("autonomous_system_organization", .text("Example Net")),
            ])
        )
        return file.octets(type: "GeoLite2-ASN")
    }
}

struct GeoDatabaseTests {
    private let folder: ScratchFolder

    init() throws { self.folder = try ScratchFolder() }

    private func database(_ octets: [UInt8]) throws -> GeoDatabase {
        try self.folder.write(octets, "file.mmdb")
        return try GeoDatabase(path: "\(self.folder.path)/file.mmdb")
    }

    @Test func `an address has a place`() throws {
        let database = try self.database(GeoFile.cities())
        #expect(database.type == "GeoLite2-City")
        for address in ["198.51.100.7", "2001:db8:1::7", "::ffff:198.51.100.7"] {
            let place = database.place(of: try #require(IPAddress(parsing: address)))
            #expect(place?.country == "DE" && place?.countryName == "Germany")
            #expect(place?.continent == "EU" && place?.city == "Berlin")
            #expect(place?.position == GeoPosition(latitude: 52.52, longitude: 13.40))
        }
        let bare = database.place(of: try #require(IPAddress(parsing: "192.0.2.1")))
        #expect(bare?.country == "NL" && bare?.city == nil && bare?.position == nil)
        #expect(database.place(of: try #require(IPAddress(parsing: "192.0.2.200"))) == GeoPlace())
        for address in ["198.51.99.1", "2001:db8:2::1", "::1"] {
            #expect(database.place(of: try #require(IPAddress(parsing: address))) == nil)
        }
    }

    @Test func `a damaged file is refused, or says nothing`() throws {
        let whole = GeoFile.cities()
        #expect(throws: GeoDatabaseFailure.self) { try self.database([]) }
        #expect(throws: GeoDatabaseFailure.self) { try self.database(Array("no database".utf8)) }
        #expect(throws: GeoDatabaseFailure.self) { try GeoDatabase(path: "/nowhere/x.mmdb") }
        let addresses = ["198.51.100.7", "203.0.113.1", "2001:db8:1::7"].compactMap {
            IPAddress(parsing: $0)
        }
        for index in stride(from: 0, to: whole.count, by: 7) {
            var damaged = whole
            damaged[index] ^= 0xA5
            if let database = try? self.database(damaged) {
                for address in addresses { _ = database.place(of: address) }
            }
            try self.folder.remove("file.mmdb")
            if let database = try? self.database(Array(whole[..<index])) {
                for address in addresses { _ = database.place(of: address) }
            }
            try self.folder.remove("file.mmdb")
        }
    }

    @Test func `distances are as the crow flies`() {
        let berlin = GeoPosition(latitude: 52.52, longitude: 13.40)
        let newYork = GeoPosition(latitude: 40.71, longitude: -74.01)
        #expect(abs(berlin.kilometres(to: newYork) - 6_385) < 30)
        #expect(berlin.kilometres(to: berlin) == 0)
        let pole = GeoPosition(latitude: 90, longitude: 0)
        let other = GeoPosition(latitude: -90, longitude: 170)
        #expect(abs(pole.kilometres(to: other) - 20_015) < 1)
    }
}

struct WatchedFileTests {
    private let folder: ScratchFolder

    init() throws { self.folder = try ScratchFolder() }

    private func replace(_ text: String) throws {
        try self.folder.write(Array(text.utf8), "new")
        try self.folder.move("new", "file")
    }

    private func watched(every interval: Duration = .zero) throws -> WatchedFile<String> {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        return try WatchedFile("\(self.folder.path)/file", every: interval, logger: logger) {
            path in
            let name = path.split(separator: "/").last.map { String($0) } ?? ""
            let octets = try self.folder.read(name)
            guard !octets.isEmpty else { throw PluginError("empty") }
            return String(decoding: octets, as: UTF8.self)
        }
    }

    @Test func `a file that is replaced is read again, and a bad one leaves the old value`()
        async throws
    {
        try self.replace("one")
        let file = try self.watched()
        #expect(try await file.value() == "one")
        try self.replace("two")
        #expect(try await file.value() == "two")
        try self.replace("")
        #expect(try await file.value() == "two")
        try self.folder.remove("file")
        #expect(try await file.value() == "two")
        try self.replace("three")
        #expect(try await file.value() == "three")
    }

    @Test func `within the interval nobody looks`() async throws {
        try self.replace("one")
        let file = try self.watched(every: .seconds(3_600))
        try self.replace("two")
        #expect(try await file.value() == "one")
    }

    @Test func `a file that is not there at the start is an error`() {
        #expect(throws: (any Error).self) { try self.watched() }
    }
}

struct GeoIPTests {
    private let folder: ScratchFolder

    init() throws {
        self.folder = try ScratchFolder()
        try self.folder.write(GeoFile.cities(), "GeoLite2-City.mmdb")
        try self.folder.write(GeoFile.networks, "GeoLite2-ASN.mmdb")
    }

    private func session(_ arguments: String = "", from client: String) async throws -> TestSession
    {
        let session = try await TestSession(
            [GeoIP.self],
            plugins: "ident/geoip db_dir \(self.folder.path) \(arguments)"
        )
        session.clientIP = client
        return session
    }

    @Test func `a client's place is noted`() async throws {
        let session = try await self.session("distance 203.0.113.1", from: "198.51.100.7")
        #expect(try await session.connect() == .declined)
        #expect(session.note(.geoipCountry) == "DE" && session.note(.geoipCountryName) == "Germany")
        #expect(session.note(.geoipContinent) == "EU" && session.note(.geoipCity) == "Berlin")
        #expect(session.note(.geoipASN) == 64_500)
        #expect(abs((session.note(.geoipDistance) ?? 0) - 6_385) < 30)
        #expect(session.note(.karma) == nil)
    }

    @Test(arguments: ["192.168.0.1", "127.0.0.1", "198.18.0.1", "2001:db8:ffff::1"])
    func `nothing is noted of others`(client: String) async throws {
        let session = try await self.session("distance 203.0.113.1", from: client)
        #expect(try await session.connect() == .declined)
        #expect(session.note(.geoipCountry) == nil && session.note(.geoipDistance) == nil)
    }

    @Test func `a message gets fields, and forged ones go`() async throws {
        let session = try await self.session(from: "198.51.100.7")
        try await session.connect()
        try await session.mail(from: "jo@example.org")
        try await session.message("X-GeoIP-Country: XX\r\nX-GeoIP-Other: 1\r\n\r\nhello\r\n")
        let fields = session.headers.map { "\($0.name):\($0.value)" }.sorted()
        #expect(
            fields == [
                "X-GeoIP-ASN: 64500", "X-GeoIP-City: Berlin", "X-GeoIP-Continent: EU",
                "X-GeoIP-Country: DE", "X-GeoIP-Other: 1",
            ]
        )
        let bare = try await self.session("add_headers false", from: "198.51.100.7")
        #expect(bare.plugins(at: .data_post).isEmpty)
    }

    @Test func `a client from too far has less karma`() async throws {
        for (limit, karma) in [(7_000, nil), (6_000, -1)] {
            let arguments = "distance 203.0.113.1 too_far \(limit)"
            let session = try await self.session(arguments, from: "198.51.100.7")
            #expect(try await session.connect() == .declined)
            #expect(session.note(.karma) == karma)
        }
    }

    @Test func `countries can be refused`() async throws {
        let session = try await self.session("reject_countries us,De", from: "198.51.100.7")
        let answer = try await session.connect()
        #expect(answer == .deny("Mail from Germany is not taken here", status: "5.7.1"))
        #expect(session.note(.karma) == -1)
        let other = try await self.session("reject_countries US", from: "198.51.100.7")
        #expect(try await other.connect() == .declined)
        let relay = try await self.session("reject_countries DE", from: "198.51.100.7")
        relay.relay = true
        #expect(try await relay.connect() == .declined)
        #expect(relay.note(.geoipCountry) == "DE")
        let tolerant = try await self.session("reject_countries DE reject 0", from: "198.51.100.7")
        #expect(try await tolerant.connect() == .declined)
    }

    @Test func `a network file alone will do, but not for countries`() async throws {
        try self.folder.remove("GeoLite2-City.mmdb")
        let session = try await self.session(from: "198.51.100.7")
        try await session.connect()
        #expect(session.note(.geoipASN) == 64_500 && session.note(.geoipCountry) == nil)
        await #expect(throws: (any Error).self) {
            _ = try await self.session("reject_countries DE", from: "198.51.100.7")
        }
    }

    @Test(arguments: [
        "too_far 100", "distance x", "reject_countries DEU", "reject_countries DE,",
        "add_headers x",
        "unknown 1",
    ])
    func `mistakes are named`(arguments: String) async throws {
        await #expect(throws: (any Error).self) {
            _ = try await self.session(arguments, from: "198.51.100.7")
        }
    }

    @Test func `without a file, or with a damaged one, the worker does not start`() async throws {
        try self.folder.write(Array("x".utf8), "GeoLite2-City.mmdb")
        await #expect(throws: (any Error).self) { _ = try await self.session(from: "198.51.100.7") }
        try self.folder.remove("GeoLite2-City.mmdb")
        try self.folder.remove("GeoLite2-ASN.mmdb")
        await #expect(throws: (any Error).self) { _ = try await self.session(from: "198.51.100.7") }
    }
}
