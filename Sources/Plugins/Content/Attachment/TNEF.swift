/// The files of a `winmail.dat`: Microsoft's Transport-Neutral Encapsulation Format.
///
/// Its attributes stand one behind the other, and an attachment is those from `attAttachRendData` on. Messages in messages are read
/// as well. Microsoft's document MS-OXTNEF says the form.
enum TNEF {
    /// The most messages within one another.
    private static let maximumDepth = 4
    private static let signature: UInt32 = 0x223E_9F78

    /// Whether octets begin as such a file does.
    static func begins(_ octets: ArraySlice<UInt8>) -> Bool {
        var reader = LittleEndianReader(octets)
        return reader.number(4) == Self.signature
    }

    /// The files in it, in time proportional to its octets.
    static func files(in octets: [UInt8]) -> EmbeddedFiles {
        var found = EmbeddedFiles()
        Self.read(octets[...], depth: 1, &found)
        return found
    }

    private enum Attribute {
        static let title: UInt32 = 0x0001_8010
        static let data: UInt32 = 0x0006_800F
        static let rendering: UInt32 = 0x0006_9002
        static let properties: UInt32 = 0x0006_9005
    }

    private static func read(_ octets: ArraySlice<UInt8>, depth: Int, _ found: inout EmbeddedFiles)
    {
        var reader = LittleEndianReader(octets)
        guard reader.number(4) == Self.signature, reader.number(2) != nil else {
            found.isDamaged = true
            return
        }
        var file: EmbeddedFile?
        while let level = reader.number(1) {
            guard let id = reader.number(4), let length = reader.number(4),
                let value = reader.octets(length), reader.number(2) != nil
            else {
                found.isDamaged = true
                break
            }
            // 1: of the message; 2: of an attachment.
            guard level == 2 else { continue }
            if id == Attribute.rendering {
                Self.keep(file, &found)
                file = EmbeddedFile()
                continue
            }
            var current = file ?? EmbeddedFile()
            switch id {
            case Attribute.title: Self.name(Self.text(value), &current)
            case Attribute.data: current.content = Array(value)
            case Attribute.properties:
                Self.readProperties(value, depth: depth, &current, &found)

            default: break
            }
            file = current
        }
        Self.keep(file, &found)
    }

    private static func keep(_ file: EmbeddedFile?, _ found: inout EmbeddedFiles) {
        guard let file, file != EmbeddedFile() else { return }
        guard found.files.count < EmbeddedFiles.maximumFiles else {
            found.isDamaged = true
            return
        }
        found.files.append(file)
    }

    private static func name(_ name: String, _ file: inout EmbeddedFile) {
        if !name.isEmpty, !file.names.contains(name), file.names.count < 8 {
            file.names.append(name)
        }
    }

    private static func text(_ octets: ArraySlice<UInt8>) -> String {
        String(decoding: octets.prefix { $0 != 0 }.prefix(EmbeddedFiles.maximumName), as: UTF8.self)
    }

    private static func wideText(_ octets: ArraySlice<UInt8>) -> String {
        var units: [UInt16] = []
        var reader = LittleEndianReader(octets.prefix(EmbeddedFiles.maximumName))
        while let unit = reader.number(2), unit != 0 {
            units.append(UInt16(truncatingIfNeeded: unit))
        }
        return String(decoding: units, as: UTF16.self)
    }

    // MARK: Properties

    private enum Property {
        static let data: UInt32 = 0x3701
        /// PidTagAttachFilename, PidTagAttachLongFilename, PidTagAttachTransportName.
        static let names: Set<UInt32> = [0x3704, 0x3707, 0x370C]
    }

    private enum PropertyType {
        static let text: UInt32 = 0x1E
        static let wideText: UInt32 = 0x1F
        static let object: UInt32 = 0x0D
        static let octets: UInt32 = 0x102
        static let severalFlag: UInt32 = 0x1000
    }

    private static func readProperties(
        _ octets: ArraySlice<UInt8>,
        depth: Int,
        _ file: inout EmbeddedFile,
        _ found: inout EmbeddedFiles
    ) {
        var reader = LittleEndianReader(octets)
        guard let count = reader.number(4) else {
            found.isDamaged = true
            return
        }
        for _ in 0..<count {
            guard let type = reader.number(2), let id = reader.number(2),
                id < 0x8000 || Self.skipName(&reader),
                let values = Self.values(type, &reader)
            else {
                found.isDamaged = true
                return
            }
            for value in values {
                switch (id, type & ~PropertyType.severalFlag) {
                case (let id, PropertyType.text) where Property.names.contains(id):
                    self.name(self.text(value), &file)

                case (let id, PropertyType.wideText) where Property.names.contains(id):
                    self.name(self.wideText(value), &file)

                case (Property.data, PropertyType.octets): file.content = Array(value)
                case (Property.data, PropertyType.object):
                    // 16 octets say what it is.
                    let inner = value.dropFirst(16)
                    guard Self.begins(inner) else { continue }
                    guard depth < Self.maximumDepth else {
                        found.isDamaged = true
                        continue
                    }
                    self.read(inner, depth: depth + 1, &found)

                default: continue
                }
            }
        }
    }

    /// Reads past the name of a property that has one.
    private static func skipName(_ reader: inout LittleEndianReader) -> Bool {
        guard reader.octets(16) != nil, let kind = reader.number(4) else { return false }
        guard kind == 1 else { return reader.number(4) != nil }
        guard let length = reader.number(4) else { return false }
        return reader.padded(length) != nil
    }

    /// The values of a property that has its octets behind their number; none for one of a fixed size.
    private static func values(
        _ type: UInt32,
        _ reader: inout LittleEndianReader
    ) -> [ArraySlice<UInt8>]? {
        let isSeveral = type & PropertyType.severalFlag != 0
        let size: UInt32
        switch type & ~PropertyType.severalFlag {
        case 0x01: size = 0
        case 0x02, 0x03, 0x04, 0x0A, 0x0B: size = 4
        case 0x05, 0x06, 0x07, 0x14, 0x40: size = 8
        case 0x48: size = 16
        case PropertyType.text, PropertyType.wideText, PropertyType.object, PropertyType.octets:
            guard let count = reader.number(4) else { return nil }
            var values: [ArraySlice<UInt8>] = []
            for _ in 0..<count {
                guard let length = reader.number(4), let value = reader.padded(length) else {
                    return nil
                }
                values.append(value)
            }
            return values

        default: return nil
        }
        var count: UInt32 = 1
        if isSeveral {
            guard let number = reader.number(4) else { return nil }
            count = number
        }
        let (octets, overflow) = count.multipliedReportingOverflow(by: size)
        guard !overflow, reader.octets(octets) != nil else { return nil }
        return []
    }
}

/// Reads numbers whose least octet comes first; what is not there is `nil`.
private struct LittleEndianReader {
    private var rest: ArraySlice<UInt8>

    init(_ octets: ArraySlice<UInt8>) { self.rest = octets }

    /// A number of one to four octets.
    mutating func number(_ size: Int) -> UInt32? {
        guard self.rest.count >= size else { return nil }
        let value = self.rest.prefix(size).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        self.rest = self.rest.dropFirst(size)
        return value
    }

    mutating func octets(_ count: UInt32) -> ArraySlice<UInt8>? {
        guard self.rest.count >= Int(count) else { return nil }
        defer { self.rest = self.rest.dropFirst(Int(count)) }
        return self.rest.prefix(Int(count))
    }

    /// As ``octets(_:)``, and behind them what is missing to a multiple of four, as far as it is there.
    mutating func padded(_ count: UInt32) -> ArraySlice<UInt8>? {
        let octets = self.octets(count)
        self.rest = self.rest.dropFirst(Int((4 - count % 4) % 4))
        return octets
    }
}
