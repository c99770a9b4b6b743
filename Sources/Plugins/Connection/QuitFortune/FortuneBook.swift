import Glibc
import PolicyKit

/// A text file of fortunes with a line `%` between them, read once.
struct FortuneBook: Sendable {
    /// The most octets of the file.
    private static let maximumOctets = 4 * 1_048_576

    let fortunes: [[UInt8]]

    init(path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw PluginError("file \(path): \(String(cString: strerror(errno)))")
        }
        defer { close(descriptor) }
        var text: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { break }
            text += buffer.prefix(count)
            guard text.count <= Self.maximumOctets else {
                throw PluginError("file \(path) is larger than \(Self.maximumOctets) octets")
            }
        }
        self.init(text: text)
    }

    init(text: [UInt8]) {
        var fortunes: [[UInt8]] = []
        var fortune: [UInt8] = []
        for line in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            if line.elementsEqual([UInt8(ascii: "%")]) {
                fortunes.append(fortune)
                fortune = []
            } else {
                fortune += line
                fortune.append(UInt8(ascii: "\n"))
            }
        }
        fortunes.append(fortune)
        self.fortunes = fortunes.filter { fortune in fortune.contains { $0 > 0x20 } }
    }
}
