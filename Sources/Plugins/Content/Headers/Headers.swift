package import PolicyKit

/// Refuses a message whose header lacks fields, has them twice, or is dated out of range.
///
/// See README.md.
package struct Headers: DataPostHook {
    package static let name = "headers"
    package static let aliases = ["check_basicheaders"]

    /// RFC 5322 §3.6: fields that may stand once at most.
    private static let singular: [Bytes] = [
        "Date", "From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-Id", "In-Reply-To",
        "References", "Subject",
    ]

    private let required: [String]
    private let future: Duration?
    private let past: Duration?
    private let refusal: Refusal

    package init(configuration: PluginConfiguration) {
        self.required = configuration.argument("require", as: .fieldNames, default: ["From"])
        self.future = configuration.argument("future", as: .days)
        self.past = configuration.argument("past", as: .days)
        self.refusal = configuration.refusal()
    }

    // Not the message: the frontend would have to write a file for it.
    package func subscription(at hook: Hook) -> Subscription? { Subscription(.headers) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        let headers = event.headers
        // Our own Received field is there already.
        if headers.allSatisfy({ $0.isNamed("Received") }) {
            return self.refuse(event, "The message has no header")
        }
        if event.isImmune { return event.skip("immune") }
        for name in self.required where !headers.contains(where: { $0.isNamed(Bytes(name)) }) {
            event.adjustKarma(by: -1)
            return self.refuse(event, "We require a \(name) header")
        }
        for name in Self.singular where headers.count(where: { $0.isNamed(name) }) > 1 {
            event.adjustKarma(by: -1)
            return self.refuse(event, "Only one \(name.string ?? "") header allowed")
        }
        if let text = self.dateProblem(headers, now: event.nowMilliseconds / 1_000) {
            event.adjustKarma(by: -1)
            return self.refuse(event, text)
        }
        return event.pass()
    }

    /// What is wrong with the field Date; `nil` also if there is none, or none that can be read.
    private func dateProblem(_ headers: [HeaderField], now: Int64) -> String? {
        guard self.future != nil || self.past != nil,
            let field = headers.first(where: { $0.isNamed("Date") }),
            let date = MessageDate(field.value.octets)
        else { return nil }
        if let future = self.future, date.seconds - now > future.components.seconds {
            return "The Date header is too far in the future"
        }
        if let past = self.past, now - date.seconds > past.components.seconds {
            return "The Date header is too far in the past"
        }
        return nil
    }

    private func refuse(_ event: DataPostEvent, _ text: String) -> Answer {
        event.refuse(self.refusal, text, detail: "6.0")
    }
}

extension HeaderField {
    fileprivate func isNamed(_ name: Bytes) -> Bool {
        self.name.equalsIgnoringASCIICase(name)
    }
}

extension ArgumentType<[String]> {
    /// `From,Date`: names of header fields.
    fileprivate static var fieldNames: Self {
        Self("names of header fields with commas between them, as in From,Date") { word in
            let names = word.split(separator: ",").map { String($0) }
            let isValid = names.allSatisfy { name in
                name.utf8.allSatisfy { 33...126 ~= $0 && $0 != UInt8(ascii: ":") }
            }
            return isValid && !names.isEmpty ? names : nil
        }
    }
}

extension ArgumentType<Duration> {
    /// A number of days.
    fileprivate static var days: Self {
        Self("a number of days from 1 to 10000") { word in
            Int(word).flatMap { 1...10_000 ~= $0 ? .seconds($0 * 86_400) : nil }
        }
    }
}
