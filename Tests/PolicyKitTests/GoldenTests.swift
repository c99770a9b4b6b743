import Foundation
import JSON
import PolicyKit
import Synchronization
import Testing

@testable import PolicyKit

/// Every golden transcript of protocol/golden that is about workers, played to PolicyKit's worker in
/// each of the three splittings that its README asks for.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct GoldenTests {
    static let transcripts: [Transcript] = Transcript.all()

    @Test func `there are transcripts`() {
        #expect(Self.transcripts.count >= 80)
    }

    @Test(arguments: Self.transcripts, Splitting.allCases)
    func `the worker plays its part`(transcript: Transcript, splitting: Splitting) async throws {
        try await GoldenReplay(transcript, splitting).run()
    }
}

/// How the frontend's octets are cut.
enum Splitting: String, CaseIterable {
    case lines
    case octets
    case together
}

/// A file of protocol/golden.
struct Transcript: Sendable, CustomTestStringConvertible {
    let name: String
    let head: JSONValue
    let steps: [JSONValue]

    var testDescription: String { self.name }

    /// Those that a worker replays.
    static func all() -> [Self] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let folder = root.appending(path: "protocol/golden")
        let files = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return files.filter { $0.hasSuffix(".ndjson") }.sorted().compactMap { name in
            guard let text = FileManager.default.contents(atPath: folder.path + "/" + name) else {
                return nil
            }
            let lines = text.split(separator: 0x0A).compactMap { line in
                try? JSONValue(parsing: Array(line))
            }
            guard let head = lines.first, head.text("side") != "frontend" else { return nil }
            return Self(name: name, head: head, steps: Array(lines.dropFirst()))
        }
    }
}

/// One transcript on one connection.
final class GoldenReplay {
    private let transcript: Transcript
    private let splitting: Splitting
    private let worker: WorkerUnderTest
    private let frontend: FakeFrontend
    private var pending: [UInt8] = []
    private var expected: [JSONValue] = []
    private var cancelled: Set<Int64> = []

    init(_ transcript: Transcript, _ splitting: Splitting) throws {
        self.transcript = transcript
        self.splitting = splitting
        let scripts = (transcript.head["plugins"]?.members ?? [:]).compactMap { hook, script in
            Hook(rawValue: hook).map { ($0, Script(script)) }
        }
        Script.all.withLock {
            $0[transcript.name] = Dictionary(scripts) { first, _ in first }
        }
        let hello = transcript.head["hello"]
        let about = hello?["worker"]
        self.worker = try WorkerUnderTest(
            identity: WorkerIdentity(
                name: about?.text("name") ?? "demo",
                version: about?.text("version") ?? "",
                instance: about?.text("instance") ?? "",
                sdk: about?.text("sdk") ?? "",
                pid: Int64(about?["pid"].flatMap { Int(json: $0) } ?? 1)
            ),
            concurrency: hello?["concurrency"].flatMap { Int(json: $0) } ?? 4,
            maximumFrameOctets: hello?["max_frame"].flatMap { Int(json: $0) } ?? 1_048_576,
            plugins: "scripted \(transcript.name)\n"
        )
        self.frontend = try self.worker.frontend()
    }

    func run() async throws {
        var isConnected = false
        for step in self.transcript.steps {
            if let line = step["line"], step.text("from") == "worker" {
                if line.text("type") == "hello", !isConnected {
                    isConnected = true
                    try await self.compareHello(line)
                } else {
                    self.expected.append(line)
                }
            } else if step.text("from") == "frontend" {
                try await self.feed(step)
            } else {
                try await self.barrier()
                try await self.perform(step)
            }
        }
        try await self.barrier()
    }

    private func compareHello(_ line: JSONValue) async throws {
        let hello = JSONValue(any: try await self.frontend.accept())
        let special: Set = ["plugins", "worker", "hooks"]
        for (key, value) in line.members ?? [:] where !special.contains(key) {
            #expect(hello[key] == value, "hello.\(key)")
        }
        #expect(Self.hooks(of: hello) == Self.hooks(of: line))
        for (key, value) in line["worker"]?.members ?? [:] {
            #expect(hello["worker"]?[key] == value, "hello.worker.\(key)")
        }
    }

    /// The hooks of a hello, the order of needs being free.
    private static func hooks(of hello: JSONValue) -> [String: [String: JSONValue]] {
        (hello["hooks"]?.members ?? [:]).mapValues { hook in
            var members = hook.members ?? [:]
            let needs = (members["needs"]?.elements ?? []).compactMap { String(json: $0) }
            members["needs"] = .array(needs.sorted().map { .string($0) })
            return members
        }
    }

    private func feed(_ step: JSONValue) async throws {
        var octets: [UInt8]
        if let line = step["line"] {
            var writer = JSONWriter()
            line.encode(into: &writer)
            octets = writer.octets + [0x0A]
            if line.text("type") == "cancel", let id = line["id"].flatMap({ Int(json: $0) }) {
                self.cancelled.insert(Int64(id))
            }
        } else {
            octets = try step.bytes("raw").octets
            if let total = step["total"].flatMap({ Int(json: $0) }),
                let fill = step.text("fill")?.utf8.first
            {
                let tail = try step.bytes("tail").octets
                octets += Array(repeating: fill, count: total - octets.count - tail.count) + tail
            }
        }
        switch self.splitting {
        case .together: self.pending += octets
        case .lines: try self.frontend.send(octets: octets)
        case .octets where octets.count > 5_000: try self.frontend.send(octets: octets)

        case .octets:
            for octet in octets {
                try self.frontend.send(octets: [octet])
            }
        }
    }

    private func perform(_ step: JSONValue) async throws {
        if step.text("stop") == "worker" {
            try await self.worker.drain()
        } else if step.text("close") == "frontend" {
            self.frontend.hangUp()
        } else if step.text("close") == "worker" {
            #expect(try await self.frontend.nextOrEnd() == nil)
        } else if let milliseconds = step["elapsed_ms"].flatMap({ Int(json: $0) }) {
            try await Task.sleep(for: .milliseconds(milliseconds))
        }
    }

    /// Every line that stands above must have come by now, and no other.
    private func barrier() async throws {
        if !self.pending.isEmpty {
            try? self.frontend.send(octets: self.pending)
            self.pending = []
        }
        var expected = self.expected
        self.expected = []
        while !expected.isEmpty {
            let line = JSONValue(any: try await self.frontend.next())
            // Lines of one id keep their order, and so do those without.
            let index = expected.firstIndex { $0["id"] == line["id"] }
            guard let index else {
                Issue.record("unexpected line \(line)")
                return
            }
            self.compare(line, with: expected.remove(at: index))
        }
    }

    /// A member without those of its own that are empty, which is the same as absent.
    private static func withoutEmpty(_ value: JSONValue?) -> JSONValue? {
        guard case .object(let members)? = value else { return value }
        let kept = members.filter { $0.value != .object([:]) && $0.value != .array([]) }
        return kept.isEmpty ? nil : .object(kept)
    }

    private func compare(_ line: JSONValue, with expected: JSONValue) {
        if let id = line["id"].flatMap({ Int(json: $0) }), self.cancelled.contains(Int64(id)) {
            #expect(["verdict", "error"].contains(line.text("type") ?? ""))
            return
        }
        for (key, value) in expected.members ?? [:] where key != "message" {
            #expect(Self.withoutEmpty(line[key]) == Self.withoutEmpty(value), "\(key) of \(line)")
        }
        let free: Set = ["plugin", "trace", "message"]
        for (key, value) in line.members ?? [:] where expected[key] == nil && !free.contains(key) {
            #expect(value == .array([]) || value == .object([:]), "\(key) of \(line)")
        }
    }
}

extension JSONValue {
    /// What Foundation's parser made of a line.
    init(any object: [String: Any]) {
        let data = try? JSONSerialization.data(withJSONObject: object)
        self = data.flatMap { try? JSONValue(parsing: Array($0)) } ?? .null
    }
}
