import Configuration
import Glibc
import System

/// The files in which ``PoisonEvidence`` keeps one poisoned question.
enum PoisonFiles {
    static let eventEnding = ".event.json"
    static let messageEnding = ".eml"
    private static let unfinishedEnding = ".unfinished"

    /// Writes the message, then the event: if the event's file exists, everything was written.
    ///
    /// `message` is an open descriptor, which this closes; -1 if there is no message.
    ///
    /// - Returns: Whether the event was written.
    static func keep(event: [UInt8], message: Int32, base: String) -> Bool {
        if message >= 0 {
            Self.copy(message, to: base + Self.messageEnding)
            close(message)
        }
        let (path, unfinished) = (base + Self.eventEnding, base + Self.unfinishedEnding)
        unlink(unfinished)
        guard
            let file = try? SpoolFileCalls.append(event, to: -1, path: unfinished, mode: 0o600)
        else { return false }
        close(file)
        return rename(unfinished, path) == 0
    }

    /// The names, without endings, of the events to remove so that at most `files` events and
    /// `octets` octets stay in `folder`; the oldest first.
    static func surplus(in folder: String, files: Int, octets: Int64) -> [String] {
        var events: [String: (second: Int, octets: Int64)] = [:]
        for file in (try? Folders.names(in: folder)) ?? [] {
            var facts = stat()
            guard let name = file.split(separator: ".").first,
                lstat(folder + "/" + file, &facts) == 0
            else { continue }
            let event = events[String(name), default: (0, 0)]
            events[String(name)] = (
                max(event.second, facts.st_mtim.tv_sec), event.octets + Int64(facts.st_size)
            )
        }
        var files = events.count - files
        var octets = events.values.reduce(-octets) { $0 + $1.octets }
        let oldest = events.sorted { ($0.value.second, $0.key) < ($1.value.second, $1.key) }
        return oldest.prefix { event in
            guard files > 0 || octets > 0 else { return false }
            files -= 1
            octets -= event.value.octets
            return true
        }
        .map(\.key)
    }

    /// Removes all files of an event.
    static func remove(base: String) {
        for ending in [Self.eventEnding, Self.messageEnding, Self.unfinishedEnding] {
            unlink(base + ending)
        }
    }

    private static func copy(_ source: Int32, to path: String) {
        unlink(path)
        var copy: Int32 = -1
        defer { if copy >= 0 { close(copy) } }
        while let octets = DescriptorCalls.read(source), !octets.isEmpty {
            guard
                let next = try? SpoolFileCalls.append(octets, to: copy, path: path, mode: 0o600)
            else { return }
            copy = next
        }
    }
}
