import Glibc
package import PolicyKit
import System

/// Keeps a copy of messages, one file each.
///
/// See README.md.
package struct MessageArchive: DataPostHook {
    package static let name = "archive"
    package static let aliases = ["content_log"]

    private let folder: String
    private let oneOf: UInt64
    private let defersOnError: Bool
    private let sizeLimit: Int
    private let isEnabled: ControlFile<[String]>
    private let folderFile: ControlFile<[String]>

    package init(configuration: PluginConfiguration) throws {
        let folder = configuration.argument("folder", as: .text)
        self.folderFile = try configuration.controlFile("content_log_file")
        let file = self.folderFile.value(startedMilliseconds: .max).first
        self.folder = configuration.resolve(path: folder ?? file ?? "mail/%Y%m%d")
        self.oneOf = UInt64(
            configuration.argument("one_of", as: .integer(in: 1...1_000_000), default: 1)
        )
        self.defersOnError = configuration.argument(
            "on_error",
            as: .choice(["pass": false, "defer": true]),
            default: false
        )
        self.sizeLimit = configuration.argument(
            "size_limit",
            as: .integer(in: 1...100_000_000),
            default: 50_000_000
        )
        self.isEnabled = try configuration.controlFile("content_log_enabled")
        let fixed = self.folder.prefix { $0 != "%" }
        let end = fixed.count == self.folder.count ? fixed.endIndex : fixed.lastIndex(of: "/")
        configuration.warnUnlessWritable(folder: String(fixed[..<(end ?? fixed.endIndex)]))
    }

    package func subscription(at hook: Hook) -> Subscription? {
        Subscription([.wholeMessage, .recipients])
    }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        if let word = event.value(of: self.isEnabled).first?.lowercased(),
            ["0", "no", "false", "off"].contains(word)
        {
            return event.skip("content_log_enabled is \(word)")
        }
        let id = event.transaction.id
        guard Self.hash(id) % self.oneOf == 0 else { return event.skip("not one of the sample") }
        let message = try event.message
        guard message.size <= self.sizeLimit else {
            return event.skip("too large (\(message.size))")
        }
        let folder = Self.dated(self.folder, seconds: Int(event.nowMilliseconds / 1_000))
        let octets = Self.envelope(event) + (try await message.bytes(limit: self.sizeLimit))
        let name = String(id.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" })
        do {
            try await withBlockingThread { try Self.write(octets, folder, name) }
            return event.info("\(folder)/\(name).eml")
        } catch let error as SystemError {
            event.error("\(error)")
            guard self.defersOnError else { return .declined }
            return .denysoft("The message cannot be stored now, try again later", status: "4.3.0")
        }
    }

    /// What the message's header does not say.
    private static func envelope(_ event: HookEvent<DataPostStage>) -> [UInt8] {
        var octets = Array("Return-Path: <".utf8) + event.transaction.sender.address.octets
        octets += Array(">\r\n".utf8)
        for recipient in event.recipients.prefix(1_000) {
            octets += Array("X-Envelope-To: <".utf8) + recipient.address.octets
            octets += Array(">\r\n".utf8)
        }
        return octets
    }

    /// In one step, so that whoever reads the folder sees whole files alone.
    private static func write(_ octets: [UInt8], _ folder: String, _ name: String) throws {
        let temporary = "\(folder)/.\(name).new"
        try Folders.make(folder, mode: 0o700)
        do throws(SystemError) {
            let flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW
            let file = try Descriptor(opening: temporary, flags, mode: 0o600)
            try file.write(octets.span)
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, "\(folder)/\(name).eml") == 0 else {
            let code = errno
            unlink(temporary)
            throw SystemError("rename", temporary, code)
        }
    }

    /// FNV-1a: the same sample in every worker and at every attempt.
    private static func hash(_ text: String) -> UInt64 {
        text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    /// `%Y`, `%m`, `%d` and `%H` in UTC; `%%` is a per cent sign.
    static func dated(_ folder: String, seconds: Int) -> String {
        let time = UTCTime(seconds)
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        var text = ""
        var rest = folder[...]
        while let character = rest.popFirst() {
            guard character == "%", let letter = rest.first else {
                text.append(character)
                continue
            }
            switch letter {
            case "Y": text += "\(time.year)"
            case "m": text += two(time.month)
            case "d": text += two(time.day)
            case "H": text += String(time.timeOfDay.prefix(2))
            case "%": text += "%"
            default:
                text.append(character)
                continue
            }
            rest.removeFirst()
        }
        return text
    }
}
