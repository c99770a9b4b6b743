import JSON

extension WorkerHello {
    /// The protocol's one version.
    package static let protocolVersion: Int64 = 1
    static let minimumFrameOctets: Int64 = 65_536
    static let maximumFrameOctets: Int64 = 16_777_216

    /// - Throws: ``HelloRefusal`` with the reject code.
    init(_ text: JSONObjectText) throws {
        try Self.checkProtocol(text.value("protocol"))
        let worker = try text.value("worker") ?? .null
        guard let pool = try text.string("pool") else { throw HelloRefusal("bad_hello", "no pool") }
        guard case .string(let name)? = worker["name"], Self.isName(name) else {
            throw HelloRefusal("bad_hello", "worker.name is 1 to 64 of A-Z a-z 0-9 . _ -")
        }
        let concurrency = try text.int("concurrency") ?? 1
        guard (0...65_535).contains(concurrency) else { throw HelloRefusal("bad_hello", "concurrency") }
        let frame = try text.int("max_frame") ?? Self.minimumFrameOctets
        guard (Self.minimumFrameOctets...Self.maximumFrameOctets).contains(frame) else {
            throw HelloRefusal("bad_hello", "max_frame is 65536 to 16777216")
        }
        self.init(
            pool: pool,
            name: name,
            instance: Self.text(worker["instance"]),
            version: Self.text(worker["version"]),
            pid: 0,
            concurrency: Int(concurrency),
            maximumFrameOctets: Int(frame)
        )
        if case .int(let pid)? = worker["pid"] { self.pid = pid }
        if case .array(let names)? = try text.value("plugins") { self.plugins = names.map { Self.text($0) } }
        try self.readHooks(text.value("hooks"))
    }

    private static func checkProtocol(_ value: JSONValue?) throws {
        guard case .array(let range)? = value, range.count == 2, case .int(let lowest) = range[0],
            case .int(let highest) = range[1], lowest <= highest
        else { throw HelloRefusal("bad_hello", "protocol is [lowest, highest]") }
        guard (lowest...highest).contains(self.protocolVersion) else {
            throw HelloRefusal("protocol_unsupported", "this frontend speaks [1,1]")
        }
    }

    private mutating func readHooks(_ value: JSONValue?) throws {
        guard case .object(let members)? = value else { throw HelloRefusal("bad_hello", "no hooks") }
        for (word, request) in members {
            guard let hook = Hook(rawValue: word) else {
                throw HelloRefusal("bad_hello", "unknown hook \(word.prefix(40))")
            }
            guard case .object = request else { throw HelloRefusal("bad_hello", "hooks.\(word)") }
            var wanted = HookRequest()
            wanted.isObserver = request["observe"] == .bool(true)
            wanted.isIdempotent = request["idempotent"] == .bool(true)
            if case .array(let needs)? = request["needs"] {
                for need in needs {
                    guard case .string(let text) = need, let part = EventNeeds(word: text) else {
                        throw HelloRefusal("bad_hello", "unknown need at \(word)")
                    }
                    wanted.needs.insert(part)
                }
            }
            self.hooks[hook] = wanted
        }
    }

    private static func text(_ value: JSONValue?) -> String {
        if case .string(let text)? = value { text } else { "" }
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
    /// A reject code of protocol §3.
    package let code: String
    package let message: String

    package init(_ code: String, _ message: String) {
        self.code = code
        self.message = message
    }
}
