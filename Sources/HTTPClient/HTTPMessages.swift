/// A header field of a request or an answer.
package struct HTTPField: Sendable, Hashable {
    /// The name; its case means nothing.
    package let name: String
    /// The value, without white space at its ends.
    package let value: String

    /// A field; control characters of `value`, which could end it, are left out.
    ///
    /// - Parameters:
    ///   - name: A token, see ``isName(_:)``: another one makes the request fail.
    ///   - value: Any text; octets above 127 go as UTF-8.
    package init(_ name: String, _ value: String) {
        self.name = name
        let scalars = value.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7F }
        let text = String(String.UnicodeScalarView(scalars))
        let start = text.drop { $0 == " " }
        self.value = String(start.reversed().drop { $0 == " " }.reversed())
    }

    /// Whether `text` may be a field's name, or a method: a token of RFC 9110 §5.6.2.
    package static func isName(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 255 && text.utf8.allSatisfy(self.isTokenOctet)
    }

    private static func isTokenOctet(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        case 0x21, 0x23...0x27, 0x2A, 0x2B, 0x2D, 0x2E, 0x5E, 0x5F, 0x60, 0x7C, 0x7E: true
        default: false
        }
    }

    /// Whether the field has this name, in any case.
    package func isNamed(_ name: String) -> Bool { self.name.lowercased() == name.lowercased() }
}

/// What a server is asked.
package struct HTTPRequest: Sendable {
    /// As in `POST`.
    package var method: String
    /// Path and query, as in `/checkv2`: printable ASCII.
    package var path: String
    /// Beside `Host`, `Content-Length` and `Connection`, which the client adds.
    package var fields: [HTTPField]
    /// The content; without octets there is none.
    package var body: [UInt8]
    /// Whether the server may see the request twice without harm.
    ///
    /// If so, it may go on a connection that was kept, and once more on a new one if that had ended. If
    /// not, it goes on a new connection, once.
    package var isRepeatable: Bool

    /// A request; without `isRepeatable` that is as RFC 9110 §9.2.2 says of the method, so `POST` is not.
    package init(
        _ method: String,
        _ path: String,
        fields: [HTTPField] = [],
        body: [UInt8] = [],
        isRepeatable: Bool? = nil
    ) {
        self.method = method
        self.path = path
        self.fields = fields
        self.body = body
        self.isRepeatable =
            isRepeatable ?? ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"].contains(method)
    }

    /// Why no such request can be sent; `nil` if it can.
    var problem: String? {
        if !HTTPField.isName(self.method) { return "\(self.method) is no method" }
        let isPath =
            self.path.hasPrefix("/") && self.path.utf8.count <= 8_192
            && self.path.utf8.allSatisfy { 0x21...0x7E ~= $0 }
        if !isPath { return "\(self.path) is no path" }
        let field = self.fields.first { !HTTPField.isName($0.name) }
        return field.map { "\($0.name) is no name of a field" }
    }
}

/// What a server answered.
package struct HTTPAnswer: Sendable, Equatable {
    /// From 200 to 599 mostly; never an informational one.
    package let status: Int
    /// The fields of its header, in order.
    package let fields: [HTTPField]
    /// The content, free of any transfer coding.
    package let body: [UInt8]

    /// Whether the server did what it was asked: 2xx.
    package var isSuccess: Bool { 200...299 ~= self.status }

    /// The value of the first field of this name; `nil` if there is none.
    package func value(of name: String) -> String? {
        self.fields.first { $0.isNamed(name) }?.value
    }
}

/// Why there is no answer.
package struct HTTPFailure: Error, Sendable, Equatable, CustomStringConvertible {
    /// The kinds of failure.
    package enum Code: String, Sendable {
        /// No connection could be made, or its TLS not be agreed on.
        case unreachable
        /// The time of the exchange is over.
        case timedOut
        /// The connection ended before the answer was complete.
        case closed
        /// The answer, or its header, is longer than it may be.
        case tooLong
        /// What came is no HTTP/1.1.
        case malformed
        /// The request is one that cannot be sent.
        case badRequest
    }

    /// The kind of failure.
    package let code: Code
    /// What happened, for the log.
    package let detail: String

    init(_ code: Code, _ detail: String) {
        self.code = code
        self.detail = detail
    }

    /// The kind, then the detail.
    package var description: String { "\(self.code.rawValue): \(self.detail)" }
}
