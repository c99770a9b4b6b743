import JSON

/// A line from a frontend.
package enum FrontendMessage: Sendable {
    case welcome(Welcome)
    case reject(code: String, message: String, retryMS: Int64)
    case event(EventLine)
    /// An event whose id is fine and whose rest is not.
    case brokenEvent(id: Int64, problem: String)
    case notify(EventLine)
    /// A notification that cannot be read: the frontend waits for no answer.
    case brokenNotification(problem: String)
    case cancel(id: Int64, reason: String)
    /// The worker's answer to the event `id` was invalid: `code` is the rule, `message` tells where.
    case violation(id: Int64, hook: String, plugin: String?, code: String, message: String)
    case ping(Int64)
    case pong
    case drain(reason: String?)
    case bye(code: String, message: String)

    /// What the frontend says about itself and this connection.
    package struct Welcome: Sendable, Equatable {
        package let frontend: String
        package let connection: String
        package let concurrency: Int
        package let spool: String
        package let maximumFrameOctets: Int
    }

    /// Reads one line, without its LF.
    ///
    /// - Throws: A violation that ends the connection.
    package static func decode(_ line: [UInt8]) throws(ProtocolViolation) -> Self {
        let text: JSONObjectText
        do {
            text = try JSONObjectText(line)
        } catch {
            throw ProtocolViolation(.bad_frame, "\(error)")
        }
        do {
            return try self.decode(text)
        } catch let violation as ProtocolViolation {
            throw violation
        } catch {
            throw ProtocolViolation(.bad_message, "\(error)")
        }
    }

    private static func decode(_ text: JSONObjectText) throws -> Self {
        if let type = text["type"] {
            if type.equals("event") { return try self.event(text) }
            if type.equals("notify") { return self.notification(text) }
        }
        let object = WireObject(text)
        let type = try? text.string("type")
        switch type {
        case "welcome": return .welcome(try self.welcome(object))
        case "ping": return .ping(try object.int("n"))
        case "pong": return .pong

        case "cancel":
            return .cancel(id: try self.id(object), reason: try object.string("reason") ?? "")

        case "violation":
            return .violation(
                id: try self.id(object),
                hook: try object.requiredString("hook"),
                plugin: try object.string("plugin"),
                code: try object.requiredString("violation"),
                message: try object.string("message") ?? ""
            )

        case "drain":
            return .drain(reason: try object.string("reason"))

        case "bye":
            return .bye(
                code: try object.requiredString("code"),
                message: try object.string("message") ?? ""
            )

        case "reject":
            return .reject(
                code: try object.requiredString("code"),
                message: try object.requiredString("message"),
                retryMS: max(0, try text.int("retry_ms") ?? 0)
            )

        case "hello", "verdict", "error", "progress":
            throw ProtocolViolation(.unexpected_message, type ?? "")

        default:
            throw ProtocolViolation(.unknown_type, type ?? "")
        }
    }

    private static func welcome(_ object: WireObject) throws -> Welcome {
        Welcome(
            frontend: try object.requiredObject("frontend").requiredString("id"),
            connection: try object.requiredString("connection"),
            concurrency: try object.count("concurrency"),
            spool: try object.requiredString("spool"),
            maximumFrameOctets: try object.count("max_frame")
        )
    }

    private static func event(_ text: JSONObjectText) throws -> Self {
        let object = WireObject(text)
        let id = try self.id(object)
        do {
            guard let hook = text["hook"].flatMap({ Hook(spelled: $0) }) else {
                return .brokenEvent(id: id, problem: "unknown hook")
            }
            return .event(try EventLine(text, id: id, hook: hook))
        } catch {
            return .brokenEvent(id: id, problem: "\(error)")
        }
    }

    private static func notification(_ text: JSONObjectText) -> Self {
        do {
            guard let hook = text["hook"].flatMap({ Hook(spelled: $0) }) else {
                return .brokenNotification(problem: "unknown hook")
            }
            return .notify(try EventLine(text, id: 0, hook: hook))
        } catch {
            return .brokenNotification(problem: "\(error)")
        }
    }

    private static func id(_ object: WireObject) throws -> Int64 {
        let id = try object.int("id")
        guard id >= 1 else { throw ProtocolViolation(.bad_message, "id \(id)") }
        return id
    }
}
