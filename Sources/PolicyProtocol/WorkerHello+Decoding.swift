import JSON

extension WorkerHello {
    /// The protocol's one version.
    package static let protocolVersion: Int64 = 1
    static let minimumFrameOctets: Int64 = 65_536
    static let maximumFrameOctets: Int64 = 16_777_216
    static let maximumPlugins = 1_024
    static let maximumExtensions = 64

    /// - Throws: ``HelloRefusal`` with the reject code, or ``JSONError`` for a member of a wrong type.
    init(_ text: JSONObjectText) throws {
        try Self.checkProtocol(text.value("protocol"))
        guard let pool = try text.string("pool"), Self.isPool(pool) else {
            throw HelloRefusal("pool is 1 to 64 of a-z 0-9 _ -")
        }
        let worker = try text.value("worker") ?? .null
        guard case .string(let name)? = worker["name"], Self.isName(name) else {
            throw HelloRefusal("worker.name is 1 to 64 of A-Z a-z 0-9 . _ -")
        }
        let concurrency = try text.int("concurrency") ?? 1
        guard (0...65_535).contains(concurrency) else {
            throw HelloRefusal("concurrency")
        }
        let frame = try text.int("max_frame") ?? Self.minimumFrameOctets
        guard (Self.minimumFrameOctets...Self.maximumFrameOctets).contains(frame) else {
            throw HelloRefusal("max_frame is 65536 to 16777216")
        }
        self.init(
            pool: pool,
            name: name,
            instance: try Self.text(worker["instance"], "worker.instance"),
            version: try Self.text(worker["version"], "worker.version"),
            pid: 0,
            concurrency: Int(concurrency),
            maximumFrameOctets: Int(frame)
        )
        self.sdk = try Self.text(worker["sdk"], "worker.sdk")
        switch worker["pid"] {
        case nil, .null?: break
        case .int(let pid)? where pid >= 0: self.pid = pid
        default: throw HelloRefusal("worker.pid")
        }
        self.goesAhead = try text.bool("ahead") ?? false
        self.wantsViolations = try text.bool("violations") ?? false
        self.plugins = try Self.texts(text.value("plugins"), "plugins", Self.maximumPlugins)
        self.extensions = QueueExtensions(
            keywords: try Self.texts(text.value("extensions"), "extensions", Self.maximumExtensions)
        )
        try self.readHooks(text.value("hooks"))
    }

    /// A list of short texts that may be missing: empty then.
    private static func texts(
        _ value: JSONValue?,
        _ field: String,
        _ maximum: Int
    ) throws -> [String] {
        switch value {
        case nil, .null?: return []
        case .array(let items)? where items.count <= maximum:
            return try items.map { item in
                guard case .string = item else { throw HelloRefusal(field) }
                return try Self.text(item, field)
            }
        default: throw HelloRefusal("\(field) is a list of at most \(maximum) strings")
        }
    }

    private static func checkProtocol(_ value: JSONValue?) throws {
        guard case .array(let range)? = value, range.count == 2, case .int(let lowest) = range[0],
            case .int(let highest) = range[1], lowest >= 0, lowest <= highest
        else { throw HelloRefusal("protocol is [lowest, highest]") }
        guard (lowest...highest).contains(self.protocolVersion) else {
            throw HelloRefusal("this frontend speaks [1,1]", code: .protocol_unsupported)
        }
    }

    private mutating func readHooks(_ value: JSONValue?) throws {
        guard case .object(let members)? = value else {
            throw HelloRefusal("no hooks")
        }
        for (word, request) in members {
            guard let hook = Hook(rawValue: word) else {
                throw HelloRefusal("unknown hook \(word.prefix(40))")
            }
            guard case .object = request else { throw HelloRefusal("hooks.\(word)") }
            var wanted = HookRequest()
            wanted.isObserver = try Self.flag(request["observe"], "hooks.\(word).observe")
            wanted.isIdempotent = try Self.flag(request["idempotent"], "hooks.\(word).idempotent")
            wanted.needs = try Self.needs(request["needs"], word)
            self.hooks[hook] = wanted
        }
    }

    private static func needs(_ value: JSONValue?, _ hook: String) throws -> Needs {
        switch value {
        case nil, .null?: return []
        case .array(let words)?:
            var needs: Needs = []
            for word in words {
                guard case .string(let text) = word, let part = Needs(word: text) else {
                    throw HelloRefusal("unknown need at \(hook)")
                }
                needs.insert(part)
            }
            return needs
        default: throw HelloRefusal("hooks.\(hook).needs is a list")
        }
    }

    private static func flag(_ value: JSONValue?, _ field: String) throws -> Bool {
        switch value {
        case nil, .null?: false
        case .bool(let value)?: value
        default: throw HelloRefusal("\(field) is true or false")
        }
    }

    /// A short text that may be missing: empty then.
    private static func text(_ value: JSONValue?, _ field: String) throws -> String {
        switch value {
        case nil, .null?: ""
        case .string(let text)? where ShortText.isShort(text): text
        default: throw HelloRefusal("\(field) is a text of at most 128 characters")
        }
    }

    private static func isPool(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count) && name.utf8.first != UInt8(ascii: "_")
            && name.utf8.first != UInt8(ascii: "-")
            && name.utf8.allSatisfy { octet in
                switch octet {
                case 0x30...0x39, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: "-"): true
                default: false
                }
            }
    }

    private static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { octet in
                switch octet {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "."), UInt8(ascii: "_"),
                    UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}

/// Why a hello is answered with `reject`.
package struct HelloRefusal: Error, Equatable {
    package let code: FrontendLine.RejectCode
    package let message: String

    init(_ message: String, code: FrontendLine.RejectCode = .bad_hello) {
        self.code = code
        self.message = message
    }
}
