import Glibc

/// Copies of what workers died of: `<fingerprint>.event.json` and `<fingerprint>.eml`, 0600.
enum PoisonFiles {
    /// Writes what can be written; a failure costs the evidence and nothing else.
    static func keep(event: [UInt8], message: String?, base: String) {
        self.write(event, to: base + ".event.json")
        guard let message else { return }
        let source = open(message, O_RDONLY | O_NOFOLLOW | O_CLOEXEC)
        guard source >= 0 else { return }
        defer { close(source) }
        let path = base + ".eml"
        unlink(path)
        var copy: Int32 = -1
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = chunk.withUnsafeMutableBytes { read(source, $0.baseAddress, $0.count) }
            guard count > 0 else { break }
            guard
                let next = try? SpoolFileCalls.append(
                    Array(chunk[..<count]),
                    to: copy,
                    path: path,
                    mode: 0o600
                )
            else { return }
            copy = next
        }
        if copy >= 0 { close(copy) }
    }

    private static func write(_ octets: [UInt8], to path: String) {
        unlink(path)
        guard let file = try? SpoolFileCalls.append(octets, to: -1, path: path, mode: 0o600) else {
            return
        }
        close(file)
    }
}
