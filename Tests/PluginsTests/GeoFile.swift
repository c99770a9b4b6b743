import PolicyKit

/// Writes a database of MaxMind's format 2: networks, and what is said about each.
struct GeoFile {
    /// A value of the format.
    indirect enum Value {
        case text(String)
        case short(UInt16)
        case word(UInt32)
        case long(UInt64)
        case double(Double)
        case map([(String, Value)])
        case list([Value])
    }

    private enum Node {
        case nothing
        case data(Int)
        case node(Int)
    }

    private var nodes: [(Node, Node)] = [(.nothing, .nothing)]
    private var data: [UInt8] = []

    /// Adds what is said about a network; later ones go before.
    mutating func add(_ address: String, _ length: Int, _ value: Value) {
        guard let address = IPAddress(parsing: address) else { return }
        let octets =
            address.isIPv6 ? address.octets : [UInt8](repeating: 0, count: 12) + address.octets
        let depth = address.isIPv6 ? length : length + 96
        let place = self.data.count
        self.data += Self.encoded(value)
        var node = 0
        for bit in 0..<depth {
            let isRight = octets[bit / 8] >> (7 - bit % 8) & 1 == 1
            if bit == depth - 1 {
                self.set(node, isRight, .data(place))
                return
            }
            if case .node(let next) = isRight ? self.nodes[node].1 : self.nodes[node].0 {
                node = next
            } else {
                self.nodes.append((.nothing, .nothing))
                self.set(node, isRight, .node(self.nodes.count - 1))
                node = self.nodes.count - 1
            }
        }
    }

    private mutating func set(_ node: Int, _ isRight: Bool, _ value: Node) {
        if isRight { self.nodes[node].1 = value } else { self.nodes[node].0 = value }
    }

    /// The file's octets.
    func octets(type: String = "Test") -> [UInt8] {
        var file: [UInt8] = []
        for (left, right) in self.nodes {
            for side in [left, right] {
                let value =
                    switch side {
                    case .nothing: self.nodes.count
                    case .node(let index): index
                    case .data(let place): self.nodes.count + 16 + place
                    }
                file += Self.octets(UInt64(value), 4)
            }
        }
        file += [UInt8](repeating: 0, count: 16) + self.data
        file += [0xAB, 0xCD, 0xEF] + Array("MaxMind.com".utf8)
        return file
            + Self.encoded(
                .map([
                    ("node_count", .word(UInt32(self.nodes.count))), ("record_size", .short(32)),
                    ("ip_version", .short(6)), ("database_type", .text(type)),
                    ("languages", .list([.text("en")])),
                    ("binary_format_major_version", .short(2)),
                    ("binary_format_minor_version", .short(0)), ("build_epoch", .long(1)),
                    ("description", .map([("en", .text("test"))])),
                ])
            )
    }

    private static func encoded(_ value: Value) -> [UInt8] {
        switch value {
        case .text(let text): self.head(2, text.utf8.count) + Array(text.utf8)
        case .short(let number): self.head(5, 2) + self.octets(UInt64(number), 2)
        case .word(let number): self.head(6, 4) + self.octets(UInt64(number), 4)
        case .long(let number): self.head(9, 8) + self.octets(number, 8)
        case .double(let number): self.head(3, 8) + self.octets(number.bitPattern, 8)
        case .map(let members):
            self.head(7, members.count)
                + members.flatMap { self.encoded(.text($0.0)) + self.encoded($0.1) }
        case .list(let values): self.head(11, values.count) + values.flatMap { self.encoded($0) }
        }
    }

    private static func octets(_ number: UInt64, _ count: Int) -> [UInt8] {
        (0..<count).reversed().map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }

    private static func head(_ type: UInt8, _ size: Int) -> [UInt8] {
        let length = size < 29 ? UInt8(size) : 29
        let rest = size < 29 ? [] : [UInt8(size - 29)]
        return (type > 7 ? [length, type - 7] : [type << 5 | length]) + rest
    }
}
