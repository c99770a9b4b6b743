import Glibc

/// Writes the evidence of one poison; for ``PoisonEvidence``.
enum PoisonFiles {
    static let eventEnding = ".event.json"
    static let messageEnding = ".eml"

    /// Writes what can be written, the event last: where it is, all is.
    ///
    /// `message` is an open file, closed here; -1 if there is none. True if the event is there.
    static func keep(event: [UInt8], message: Int32, base: String) -> Bool {
        if message >= 0 {
            Self.copy(message, to: base + Self.messageEnding)
            close(message)
        }
        let (path, unfinished) = (base + Self.eventEnding, base + ".unfinished")
        unlink(unfinished)
        guard
            let file = try? SpoolFileCalls.append(event, to: -1, path: unfinished, mode: 0o600)
        else { return false }
        close(file)
        return rename(unfinished, path) == 0
    }

    private static func copy(_ source: Int32, to path: String) {
        unlink(path)
        var copy: Int32 = -1
        defer { if copy >= 0 { close(copy) } }
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = chunk.withUnsafeMutableBytes { read(source, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            let octets = Array(chunk[..<count])
            guard
                let next = try? SpoolFileCalls.append(octets, to: copy, path: path, mode: 0o600)
            else { return }
            copy = next
        }
    }
}
