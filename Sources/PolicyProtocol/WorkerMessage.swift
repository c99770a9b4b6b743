import JSON

/// What a worker says on its first line, checked.
package struct WorkerHello: Sendable, Equatable {
    package var pool: String
    package var name: String
    package var instance: String
    package var version: String
    /// What it is written with.
    package var sdk = ""
    package var pid: Int64
    package var concurrency: Int
    package var maximumFrameOctets: Int
    package var plugins: [String] = []
    /// `ahead`: it goes on to the hooks that an event names, as long as each is declined.
    package var goesAhead = false
    /// `violations`: it wants to hear which of its answers were invalid.
    package var wantsViolations = false
    /// `extensions`: what it keeps for the messages that it takes at `queue`.
    package var extensions: QueueExtensions = []
    package var hooks: [Hook: HookRequest] = [:]

    /// How a worker wants to be asked about a hook.
    package struct HookRequest: Sendable, Equatable {
        package var needs: Needs = []
        package var isObserver = false
        package var isIdempotent = false

        package init(
            needs: Needs = [],
            isObserver: Bool = false,
            isIdempotent: Bool = false
        ) {
            self.needs = needs
            self.isObserver = isObserver
            self.isIdempotent = isIdempotent
        }
    }

    package init(
        pool: String,
        name: String,
        instance: String,
        version: String,
        pid: Int64,
        concurrency: Int,
        maximumFrameOctets: Int
    ) {
        self.pool = pool
        self.name = name
        self.instance = instance
        self.version = version
        self.pid = pid
        self.concurrency = concurrency
        self.maximumFrameOctets = maximumFrameOctets
    }
}

/// A line from a worker.
package enum WorkerMessage: Sendable, Equatable {
    /// A failure is answered with `reject`.
    case hello(Result<WorkerHello, HelloRefusal>)
    case verdict(id: Int64, Result<PolicyVerdict, ProtocolViolation>)
    /// `started` false: the event was not begun and can go elsewhere.
    case error(id: Int64, started: Bool, code: String, plugin: String?, message: String)
    /// `hook`: the event is one of that hook now; `extendMS`: more time. Never both `nil`.
    case progress(id: Int64, hook: Hook?, extendMS: Int64?)
    case ping(Int64)
    case pong
    case drain(reason: String)
    case bye(code: String, message: String)

    /// Reads one line without its LF.
    ///
    /// `wantsTrace` false checks a verdict's trace and leaves it out.
    ///
    /// - Throws: ``ProtocolViolation`` that ends the connection.
    package static func decode(
        _ line: [UInt8],
        wantsTrace: Bool = true
    ) throws(ProtocolViolation) -> Self {
        if let verdict = PlainVerdict.read(line, wantsTrace: wantsTrace) {
            return .verdict(id: verdict.id, .success(verdict))
        }
        if let (id, hook) = PlainVerdict.progress(line) {
            return .progress(id: id, hook: hook, extendMS: nil)
        }
        return try self.decodeInFull(line, wantsTrace: wantsTrace)
    }

    /// Reads one line by the strict check; ``decode(_:wantsTrace:)`` says the same, but faster.
    package static func decodeInFull(
        _ line: [UInt8],
        wantsTrace: Bool = true
    ) throws(ProtocolViolation) -> Self {
        let text: JSONObjectText
        do { text = try JSONObjectText(line) } catch {
            throw ProtocolViolation(.bad_frame, error.description)
        }
        do {
            if text["type"]?.equals("verdict") ?? false {
                return try self.verdict(text, wantsTrace: wantsTrace)
            }
            return try self.decode(text)
        } catch let error as ProtocolViolation {
            throw error
        } catch {
            throw ProtocolViolation(.bad_message, "\(error)")
        }
    }

    private static func decode(_ text: JSONObjectText) throws -> Self {
        // A type that is no string names nothing, either.
        let type = (try? text.string("type")) ?? ""
        switch type {
        case "error": return try self.error(text)
        case "progress":
            let id = try self.id(text)
            let hook = try self.hook(text)
            let extendMS = try text.int("extend_ms")
            if extendMS != nil || hook == nil {
                _ = try self.required(extendMS, "extend_ms", from: 1)
            }
            return .progress(id: id, hook: hook, extendMS: extendMS)
        case "hello":
            do {
                return .hello(.success(try WorkerHello(text)))
            } catch let refusal as HelloRefusal {
                return .hello(.failure(refusal))
            } catch {
                return .hello(.failure(HelloRefusal("\(error)")))
            }
        case "ping": return .ping(try self.required(text.int("n"), "n", from: .min))
        case "pong":
            _ = try self.required(text.int("n"), "n", from: .min)
            return .pong
        case "drain": return .drain(reason: try text.string("reason") ?? "")
        case "bye":
            guard let code = try text.string("code") else {
                throw ProtocolViolation(.bad_message, "code")
            }
            return .bye(code: code, message: try text.string("message") ?? "")
        case "welcome", "reject", "event", "notify", "cancel", "violation":
            throw ProtocolViolation(.unexpected_message, type)
        default: throw ProtocolViolation(.unknown_type, String(type.prefix(64)))
        }
    }

    private static func verdict(_ text: JSONObjectText, wantsTrace: Bool) throws -> Self {
        let id = try self.id(text)
        do throws(ProtocolViolation) {
            let verdict = try PolicyVerdict(id: id, text, wantsTrace: wantsTrace)
            return .verdict(id: id, .success(verdict))
        } catch {
            var violation = error
            if let plugin = text["plugin"], ShortText.isShort(plugin) {
                violation.plugin = try? plugin.string()
            }
            return .verdict(id: id, .failure(violation))
        }
    }

    /// - Returns: `nil` if there is none or it is null.
    private static func hook(_ text: JSONObjectText) throws -> Hook? {
        guard let word = text["hook"], !word.isNull else { return nil }
        guard let hook = Hook(spelled: word) else { throw ProtocolViolation(.bad_message, "hook") }
        return hook
    }

    private static func id(_ text: JSONObjectText) throws -> Int64 {
        try self.required(text.int("id"), "id", from: 1)
    }

    private static func required(
        _ value: Int64?,
        _ field: String,
        from least: Int64
    ) throws -> Int64 {
        guard let value, value >= least else { throw ProtocolViolation(.bad_message, field) }
        return value
    }

    private static func error(_ text: JSONObjectText) throws -> Self {
        let id = try self.id(text)
        do {
            guard let code = try text.string("code"), CodeWord.isWord(code) else {
                throw ProtocolViolation(.error_malformed, "code")
            }
            return .error(
                id: id,
                started: try text.bool("started") ?? true,
                code: code,
                plugin: try text.string("plugin"),
                message: try text.string("message") ?? ""
            )
        } catch {
            return .verdict(id: id, .failure(ProtocolViolation(.error_malformed, "\(error)")))
        }
    }
}
