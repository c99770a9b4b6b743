extension WorkerConfiguration {
    /// `[store]`: where plugins keep what outlives a session.
    package struct Store: Sendable, Equatable {
        /// `url`.
        package var place: Place
        /// `timeout_ms`: the most time that a call may take.
        package var timeoutMS: Int64 = 2_000
        /// `max_octets` of a file; a store in memory has less if that is much.
        package var maximumOctets: Int64 = 1_073_741_824

        package init(_ place: Place) {
            self.place = place
        }

        /// Where the store is.
        package enum Place: Sendable, Equatable {
            /// `memory:`, each worker for itself.
            case memory
            /// `sqlite:PATH`, absolute.
            case sqlite(path: String)
            /// `redis://…` or `rediss://…`, also Valkey.
            case redis(Redis)
        }

        /// A server.
        package struct Redis: Sendable, Equatable {
            package var host: String
            /// 6379 when the URL names none.
            package var port = 6_379
            /// Its number, 0 when the URL names none.
            package var database = 0
            /// `nil`: the server's user `default`.
            package var user: String?
            /// From the URL or `password_file`.
            package var password: String?
            /// `rediss://`.
            package var usesTLS = false
            /// `ca_file`, absolute: the authorities to trust, in PEM; `nil`: the system's.
            package var authorities: String?

            package init(host: String) {
                self.host = host
            }
        }
    }

    static func store(_ parent: TOMLReader, folder: ConfigurationFolder) -> Store {
        let reader = parent.subtable("store")
        defer { reader.finish() }
        var store = Store(.memory)
        let url = reader.string("url", default: "sqlite:var/state/gatepost.db")
        if let place = Store.Place(url, folder: folder) {
            store.place = place
        } else {
            reader.report(
                "url",
                "\"\(url.hiddenPassword)\" is not a store",
                remedy:
                    "write \"sqlite:PATH\", \"redis://HOST:PORT/DATABASE\", \"rediss://…\" for TLS, or \"memory:\""
            )
        }
        store.timeoutMS = reader.integer(
            "timeout_ms",
            default: store.timeoutMS,
            in: 10...60_000,
            unit: "milliseconds"
        )
        store.maximumOctets = reader.integer(
            "max_octets",
            default: store.maximumOctets,
            in: 1_048_576...1_099_511_627_776,
            unit: "octets"
        )
        let authorities = reader.string("ca_file").map {
            FilePath.absolute($0, in: folder.baseDirectory)
        }
        let password = Self.password(reader, folder: folder)
        guard case .redis(var redis) = store.place else {
            for (key, value) in [("ca_file", authorities), ("password_file", password)]
            where value != nil {
                reader.report(key, "is for a server", remedy: "remove the line")
            }
            return store
        }
        if authorities != nil, !redis.usesTLS {
            reader.report(
                "ca_file",
                "is for TLS",
                remedy: "write rediss:// in url, or remove the line"
            )
        }
        if password != nil, redis.password != nil {
            reader.report("password_file", "url has a password too", remedy: "remove one of them")
        }
        redis.authorities = authorities
        redis.password = redis.password ?? password
        if redis.user != nil, redis.password == nil {
            reader.report("url", "names a user without a password", remedy: "set password_file")
        }
        store.place = .redis(redis)
        return store
    }

    /// The first line of `password_file`; `nil` if there is no such key.
    private static func password(_ reader: TOMLReader, folder: ConfigurationFolder) -> String? {
        guard let path = reader.string("password_file") else { return nil }
        do throws(FileOctets.Failure) {
            let octets = try FileOctets.read(FilePath.absolute(path, in: folder.baseDirectory))
                .octets
            let line = octets.prefix { $0 != 0x0A && $0 != 0x0D }
            guard let text = String(validating: line, as: UTF8.self), !text.isEmpty else {
                reader.report(
                    "password_file",
                    "has no password",
                    remedy: "write it into its first line"
                )
                return nil
            }
            return text
        } catch {
            reader.report(
                "password_file",
                "\(path) cannot be read: \(error.reason)",
                remedy: "let the worker's user read it"
            )
            return nil
        }
    }
}

extension WorkerConfiguration.Store.Place {
    /// Reads `memory:`, `sqlite:PATH`, `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]` or the same with `rediss`.
    ///
    /// In user and password `%HH` is an octet (RFC 3986 §2.1).
    init?(_ url: String, folder: ConfigurationFolder) {
        if url == "memory:" {
            self = .memory
        } else if url.hasPrefix("sqlite:") {
            let path = String(url.dropFirst("sqlite:".count))
            guard !path.isEmpty, !path.hasSuffix("/") else { return nil }
            self = .sqlite(path: FilePath.absolute(path, in: folder.baseDirectory))
        } else if let redis = WorkerConfiguration.Store.Redis(url) {
            self = .redis(redis)
        } else {
            return nil
        }
    }
}

extension WorkerConfiguration.Store.Redis {
    fileprivate init?(_ url: String) {
        let scheme = ["redis://", "rediss://"].first { url.hasPrefix($0) }
        guard let scheme else { return nil }
        var rest = url.dropFirst(scheme.count)
        var login: (user: String?, password: String?) = (nil, nil)
        if let at = rest.lastIndex(of: "@") {
            guard let read = Self.login(rest[..<at]) else { return nil }
            login = read
            rest = rest[rest.index(after: at)...]
        }
        let parts = rest.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let database = parts.count == 2 && !parts[1].isEmpty ? Int(parts[1]) : 0
        guard let database, 0...65_535 ~= database,
            let (host, port) = Self.hostAndPort(parts[0])
        else { return nil }
        self.init(host: host)
        self.port = port ?? self.port
        self.database = database
        (self.user, self.password) = login
        self.usesTLS = scheme == "rediss://"
    }

    private static func hostAndPort(_ text: Substring) -> (host: String, port: Int?)? {
        let colon = text.lastIndex(of: ":")
        let isLiteralOnly = text.hasSuffix("]")
        var host = text
        var port: UInt16?
        if let colon, !isLiteralOnly {
            host = text[..<colon]
            port = UInt16(text[text.index(after: colon)...])
            guard port ?? 0 > 0 else { return nil }
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return host.isEmpty ? nil : (String(host), port.map(Int.init))
    }

    /// `nil` if it is no login; empty parts are `nil`.
    private static func login(_ text: Substring) -> (user: String?, password: String?)? {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let decoded = parts.compactMap(Self.decoded)
        guard decoded.count == parts.count else { return nil }
        let user = decoded[0].isEmpty ? nil : decoded[0]
        let password = decoded.count == 2 && !decoded[1].isEmpty ? decoded[1] : nil
        return (user, password)
    }

    private static func decoded(_ text: Substring) -> String? {
        var octets: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let octet = rest.popFirst() {
            guard octet == UInt8(ascii: "%") else {
                octets.append(octet)
                continue
            }
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            guard rest.count >= 2, let value = UInt8(digits, radix: 16) else { return nil }
            octets.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: octets, as: UTF8.self)
    }
}

extension String {
    /// A URL without what stands before its `@`, for a message.
    fileprivate var hiddenPassword: String {
        guard let at = self.lastIndex(of: "@"), let start = self.firstRange(of: "//")?.upperBound,
            start < at
        else { return self }
        return "\(self[..<start])…\(self[at...])"
    }
}
