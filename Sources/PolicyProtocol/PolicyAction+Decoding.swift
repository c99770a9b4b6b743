package import JSON
import Octets

extension PolicyVerdict {
    /// Reads the list of actions: the form of all of them first, then whether each is known.
    package static func actions(_ value: JSONValue) throws(ProtocolViolation) -> [PolicyAction] {
        guard value != .null else { return [] }
        guard case .array(let list) = value else {
            throw ProtocolViolation(.actions_malformed, "actions: no list")
        }
        var actions: [PolicyAction] = []
        actions.reserveCapacity(min(list.count, self.maximumActions))
        var unknown: ProtocolViolation?
        for (index, entry) in list.enumerated() {
            do throws(ProtocolViolation) {
                actions.append(try ActionReader(entry: entry).action())
            } catch {
                guard error.code == .unknown_action else { throw error.inAction(index) }
                unknown = unknown ?? error.inAction(index)
            }
        }
        guard list.count <= self.maximumActions else {
            throw ProtocolViolation(
                .too_many_actions,
                "actions: \(list.count), over \(self.maximumActions)"
            )
        }
        if let unknown { throw unknown }
        return actions
    }
}

/// Reads one entry of `actions`.
private struct ActionReader {
    let entry: JSONValue

    func action() throws(ProtocolViolation) -> PolicyAction {
        guard case .object = self.entry, case .string(let word)? = self.entry["op"] else {
            throw ProtocolViolation(.actions_malformed, "op: missing, or no string")
        }
        switch word {
        case "header.add":
            return .addHeader(
                name: try self.bytes("name"),
                value: try self.bytes("value"),
                atTop: try self.isTop()
            )
        case "header.set": return .setHeader(id: try self.id(), value: try self.bytes("value"))
        case "header.delete": return .deleteHeader(id: try self.id())
        case "header.delete_all": return .deleteHeaders(name: try self.bytes("name"))
        case "recipient.add": return .addRecipient(address: try self.bytes("address"))
        case "recipient.remove": return .removeRecipient(id: try self.id())
        case "recipient.replace":
            return .replaceRecipient(id: try self.id(), address: try self.bytes("address"))
        case "recipient.refuse":
            return .refuseRecipient(
                id: try self.id(),
                verdict: try self.refusal(),
                reply: try PolicyVerdict.reply(self.entry["reply"] ?? .null)
            )
        case "sender.replace": return .replaceSender(address: try self.bytes("address"))
        case "message.replace":
            guard case .string(let path)? = self.entry["path"] else { throw self.malformed("path") }
            return .replaceMessage(path: path)
        case "session.relay":
            guard case .bool(let value)? = self.entry["value"] else {
                throw self.malformed("value")
            }
            return .setRelay(value)
        case "session.client_name":
            return .setClientName(self.entry["value"] == .null ? nil : try self.bytes("value"))
        case "reply.delay":
            guard case .int(let ms)? = self.entry["ms"], ms >= 0 else { throw self.malformed("ms") }
            return .delayReply(milliseconds: ms)
        case "auth.challenge":
            return .challenge(try self.bytes("challenge"), state: try self.bytes("state"))
        default:
            throw ProtocolViolation(
                .unknown_action,
                "op: \(String(word.prefix(64)).debugDescription)"
            )
        }
    }

    private func malformed(_ field: String) -> ProtocolViolation {
        ProtocolViolation(.actions_malformed, "\(field): missing, or of a wrong type")
    }

    private func id() throws(ProtocolViolation) -> Int {
        guard case .int(let id)? = self.entry["id"] else { throw self.malformed("id") }
        return Int(clamping: id)
    }

    private func refusal() throws(ProtocolViolation) -> Verdict {
        switch self.entry["verdict"] {
        case .string("deny")?: return .deny
        case .string("denysoft")?: return .denysoft
        default: throw self.malformed("verdict")
        }
    }

    private func isTop() throws(ProtocolViolation) -> Bool {
        switch self.entry["at"] {
        case nil, .null?, .string("top")?: return true
        case .string("bottom")?: return false
        default: throw self.malformed("at")
        }
    }

    /// A field of type Bytes: a string, or base64 in an object of one member.
    private func bytes(_ field: String) throws(ProtocolViolation) -> [UInt8] {
        switch self.entry[field] {
        case .string(let text)?: return Array(text.utf8)
        case .object(let members)?:
            guard members.count == 1, case .string(let text)? = members["b64"],
                let octets = Base64.decode(text)
            else { throw self.malformed(field) }
            return octets
        default: throw self.malformed(field)
        }
    }
}
