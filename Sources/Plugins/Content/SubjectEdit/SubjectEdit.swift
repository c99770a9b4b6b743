package import PolicyKit

/// Puts a mark in front of the subject of messages that meet a condition.
///
/// See README.md.
package struct SubjectEdit: DataPostHook {
    package static let name = "subject"

    /// When a message is marked.
    private enum Condition: Sendable {
        /// A note of session or transaction is set, and not false; with a value, it is that.
        case note(String, value: String?)
        /// A header field is there; with a value, one of them is that.
        case field(String, value: String?)
    }

    private let prefix: String
    private let conditions: [Condition]

    package init(configuration: PluginConfiguration) throws {
        self.prefix = configuration.argument("prefix", as: .subjectPrefix) ?? ""
        if self.prefix.isEmpty {
            configuration.record("prefix is missing: write prefix \"[external] \"")
        }
        self.conditions =
            configuration.arguments("note", as: .nameAndValue).map {
                .note($0.name, value: $0.value)
            }
            + configuration.arguments("field", as: .nameAndValue).map {
                .field($0.name, value: $0.value)
            }
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(.headers) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        guard self.conditions.allSatisfy({ Self.holds($0, event) }) else {
            return event.skip("no condition for it")
        }
        let subject = event.headers.first { $0.name.equalsIgnoringASCIICase("Subject") }
        let value = (subject?.value.octets ?? []).drop { $0 == 0x20 || $0 == 0x09 }
        if value.starts(with: self.prefix.utf8) { return event.skip("it is marked") }
        let space = self.prefix.hasSuffix(" ") ? "" : " "
        event.setSubject(
            Bytes(octets: Array(" \(self.prefix)\(space)".utf8) + Array(value.prefix(8_192)))
        )
        return event.info("marked")
    }

    private static func holds(_ condition: Condition, _ event: DataPostEvent) -> Bool {
        switch condition {
        case .note(let name, let value):
            let notes = [NoteScope.transaction, .session].compactMap {
                event.notes[NoteKey<JSONValue>(name, in: $0)]
            }
            return notes.contains { self.isSet($0, value) }

        case .field(let name, let value):
            return event.headers.contains { field in
                guard field.name.equalsIgnoringASCIICase(Bytes(name)) else { return false }
                guard let value else { return true }
                let octets = field.value.octets.drop { $0 <= 0x20 }
                let text = String(decoding: octets, as: UTF8.self).lowercased()
                return text == value.lowercased()
            }
        }
    }

    private static func isSet(_ json: JSONValue, _ value: String?) -> Bool {
        if let value {
            switch json {
            case .string(let text): return text.lowercased() == value.lowercased()
            case .int(let number): return "\(number)" == value
            case .bool(let flag): return "\(flag)" == value.lowercased()
            // The notes of spf, dmarc and rspamd say it there.
            case .object(let members):
                let words = ["result", "action"].compactMap {
                    members[$0].flatMap { String(json: $0) }
                }
                return words.contains { $0.lowercased() == value.lowercased() }

            default: return false
            }
        }
        switch json {
        case .null, .bool(false), .int(0), .string(""): return false
        default: return true
        }
    }
}

/// `NAME` or `NAME=VALUE`.
private struct NameAndValue: Sendable {
    let name: String
    let value: String?
}

extension ArgumentType<NameAndValue> {
    fileprivate static var nameAndValue: Self {
        Self("NAME, or NAME=VALUE") { word in
            let parts = word.split(
                separator: "=",
                maxSplits: 1,
                omittingEmptySubsequences: false
            ).map { String($0) }
            guard let name = parts.first, RspamdReply.isFieldName(name) else { return nil }
            return NameAndValue(name: name, value: parts.count > 1 ? parts[1] : nil)
        }
    }
}

extension ArgumentType<String> {
    fileprivate static var subjectPrefix: Self {
        Self("text without control characters, at most 200 octets") { word in
            let isText = word.unicodeScalars.allSatisfy {
                $0.value >= 0x20 && !(0x7F...0x9F ~= $0.value)
            }
            return isText && 1...200 ~= word.utf8.count ? word : nil
        }
    }
}
