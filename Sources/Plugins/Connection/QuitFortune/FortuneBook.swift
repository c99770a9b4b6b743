import PolicyKit
import System

/// A text file of fortunes with a line `%` between them, read once.
struct FortuneBook: Sendable {
    /// The most octets of the file.
    private static let maximumOctets = 4 * 1_048_576

    let fortunes: [[UInt8]]

    init(path: String) throws {
        let text: [UInt8]?
        do throws(SystemError) {
            text = try Descriptor(reading: path).readAll(limit: Self.maximumOctets)
        } catch {
            throw PluginError("file \(path): \(error.reason)")
        }
        guard let text else {
            throw PluginError("file \(path) is larger than \(Self.maximumOctets) octets")
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
