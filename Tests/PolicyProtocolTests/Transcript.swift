import Foundation
import JSON
import Octets
import PolicyProtocol
import Testing

/// A file of protocol/golden: who says what, in order (protocol/golden/README.md).
struct Transcript: Sendable, CustomTestStringConvertible {
    let name: String
    let side: String
    let steps: [JSONValue]

    var testDescription: String { self.name }

    /// Every transcript, in the order of its name.
    static func all() throws -> [Self] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let folder = root.appending(path: "protocol/golden")
        return try FileManager.default.contentsOfDirectory(atPath: folder.path)
            .filter { $0.hasSuffix(".ndjson") }
            .sorted()
            .map { name in
                let data = try Data(contentsOf: folder.appending(path: name))
                let lines = try data.split(separator: 0x0A).map {
                    try JSONValue(parsing: Array($0))
                }
                let head = try #require(lines.first)
                return Self(
                    name: name,
                    side: try head.text("side"),
                    steps: Array(lines.dropFirst())
                )
            }
    }

    /// The octets of a step, as they go over the wire.
    static func octets(of step: JSONValue) throws -> [UInt8] {
        if let line = step["line"] { return line.encoded + [0x0A] }
        var octets = try Self.bytes(#require(step["raw"]))
        if let fill = try step["fill"]?.string.utf8.first, case .int(let total)? = step["total"] {
            let tail = try Self.bytes(step["tail"] ?? .string(""))
            octets += [UInt8](repeating: fill, count: Int(total) - octets.count - tail.count) + tail
        }
        return octets
    }

    static func bytes(_ value: JSONValue) throws -> [UInt8] {
        if case .string(let text) = value { return Array(text.utf8) }
        return try #require(Base64.decode(try value.text("b64")))
    }
}

extension JSONValue {
    struct IsNoString: Error {}

    var string: String {
        get throws {
            guard case .string(let text) = self else { throw IsNoString() }
            return text
        }
    }

    func text(_ key: String) throws -> String { try (self[key] ?? .null).string }

    var encoded: [UInt8] {
        var writer = JSONWriter()
        self.encode(into: &writer)
        return writer.octets
    }
}
