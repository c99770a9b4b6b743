package import PolicyKit
import System

/// Asks clamd whether a message has a virus.
///
/// See README.md.
package struct VirusClamdscan: DataPostHook {
    package static let name = "virus/clamdscan"
    package static let aliases = ["virus/clamav"]

    /// Connecting, sending, scanning and the reply together.
    static let totalTime: Duration = .seconds(120)
    /// The octets of one chunk of INSTREAM.
    private static let chunkOctets = 262_144

    private let policy: VirusPolicy
    private let clamd: ServerClient
    /// The socket over which clamd is handed the file itself; `nil`: it gets the octets.
    private let descriptorSocket: String?
    private let time: Duration

    package init(configuration: PluginConfiguration) throws {
        let old = ClamavArguments(configuration)
        let socket = configuration.argument("clamd_socket", as: .socketPath)
        let host = configuration.argument("clamd_host", as: .text)
        let port = configuration.argument("clamd_port", as: .integer(in: 1...65_535))
        if socket != nil, host != nil || port != nil {
            configuration.record("clamd_socket and clamd_host say two places; write one")
        }
        let passesFile = configuration.argument("fildes", as: .flag, default: true)
        self.time = configuration.argument(
            "timeout",
            as: .duration(in: .milliseconds(100)...(.seconds(600))),
            default: Self.totalTime
        )
        let address: ServerAddress
        if let socket {
            address = .unix(path: socket)
        } else {
            let place = ServerAddress(host ?? "localhost", defaultPort: port ?? 3_310)
            guard let place else {
                throw PluginError(
                    "clamd_host is \(host ?? ""); it must be a host name or an address"
                )
            }
            address = place
        }
        if case .unix(let path) = address, passesFile {
            self.descriptorSocket = path
        } else {
            self.descriptorSocket = nil
        }
        self.clamd = configuration.client(to: address)
        self.policy = VirusPolicy(
            configuration,
            scanner: "ClamAV",
            refuses: old.refuses,
            defers: old.defers,
            sizeLimit: old.sizeLimit
        )
    }

    package func subscription(at hook: Hook) -> Subscription? { Subscription(.wholeMessage) }

    package func dataPost(_ event: DataPostEvent) async throws -> Answer {
        let message = try event.message
        self.policy.removeForged(event)
        if let reason = self.policy.reasonToSkip(event, message) { return event.skip(reason) }
        let deadline = ContinuousClock.now + min(self.time, event.workingTime)
        var finding: VirusFinding?
        if let descriptorSocket {
            finding = await Self.scan(message.path, descriptorSocket, until: deadline)
        }
        if finding == nil { finding = try await self.scan(message, until: deadline) }
        return self.policy.answer(finding ?? .failed("clamd says nothing"), event)
    }

    /// Hands clamd the file.
    ///
    /// - Returns: `nil` if there is no verdict: then it is sent the octets. A clamd that does not know the command may
    ///   close before it has read all of it, and its answer is lost.
    private static func scan(
        _ path: String,
        _ socket: String,
        until deadline: ContinuousClock.Instant
    ) async -> VirusFinding? {
        let result = await onThreadOfItsOwn { () -> Result<[UInt8], ClientSocket.Failure> in
            Result { () throws(ClientSocket.Failure) in
                try DescriptorPassing.exchange(
                    Array("zFILDES\0".utf8),
                    file: path,
                    unixSocket: socket,
                    until: deadline,
                    limit: ClamdReply.limit
                )
            }
        }
        switch result {
        case .success(let octets):
            let finding = ClamdReply.finding(octets)
            if case .failed = finding { return nil }
            return finding

        case .failure, nil: return nil
        }
    }

    /// Sends clamd the octets.
    private func scan(
        _ message: Message,
        until deadline: ContinuousClock.Instant
    ) async throws -> VirusFinding {
        let octets = try await message.bytes(limit: self.policy.sizeLimit)
        do {
            let answer = try await self.clamd.exchange(
                Self.request(octets),
                until: .close,
                limit: ClamdReply.limit,
                within: deadline - .now
            )
            return ClamdReply.finding(answer)
        } catch let error as ExchangeError {
            return .failed("\(self.clamd.address): \(error)")
        }
    }

    /// `zINSTREAM`, then chunks with their lengths in network order, then one of length 0.
    static func request(_ octets: [UInt8]) -> [UInt8] {
        var request = Array("zINSTREAM\0".utf8)
        request.reserveCapacity(octets.count + octets.count / Self.chunkOctets * 4 + 32)
        for start in stride(from: 0, to: octets.count, by: Self.chunkOctets) {
            let chunk = octets[start..<min(start + Self.chunkOctets, octets.count)]
            request += Self.length(chunk.count)
            request += chunk
        }
        return request + Self.length(0)
    }

    private static func length(_ count: Int) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> $0) }
    }
}

/// The arguments of qpsmtpd's `virus/clamav`, which ran a program: `name=value` words.
private struct ClamavArguments {
    var refuses: Bool?
    var defers: Bool?
    var sizeLimit: Int?

    /// Takes them from the line; what means nothing here is explained.
    init(_ configuration: PluginConfiguration) {
        guard configuration.writtenName.hasPrefix("virus/clamav") else { return }
        while let word = configuration.positional("option", ifFits: .clamavOption) {
            let parts = word.split(separator: "=", maxSplits: 1).map { String($0) }
            switch (parts[0], parts.count > 1 ? parts[1] : "") {
            case ("action", "add-header"): self.refuses = false
            case ("action", "reject"): self.refuses = true
            case ("action", let value):
                configuration.record("action is \(value); it must be add-header or reject")
            case ("max_size", let value):
                self.sizeLimit = Int(value).flatMap { 1...1_000_000_000 ~= $0 ? $0 : nil }
                if self.sizeLimit == nil {
                    configuration.record("max_size is \(value); it must be a number of octets")
                }
            case ("declined_on_fail", _): self.defers = false
            case ("clamd_conf", _):
                configuration.warn(
                    "clamd_conf is not read: write clamd_socket and the path that LocalSocket has there"
                )
            default:
                configuration.warn(
                    "\(parts[0]) means nothing here: clamd is asked, and no program is run"
                )
            }
        }
    }
}

extension ArgumentType<String> {
    /// A word that qpsmtpd's `virus/clamav` takes.
    fileprivate static var clamavOption: Self {
        Self(
            "clamscan_path=, clamd_conf=, action=, max_size=, tmp_dir=, back_compat or declined_on_fail"
        ) {
            let name = $0.prefix { $0 != "=" }
            let names = [
                "clamscan_path", "clamd_conf", "action", "max_size", "tmp_dir", "back_compat",
                "declined_on_fail",
            ]
            let isWord = ["back_compat", "declined_on_fail"].contains(name) && name == $0
            return names.contains(String(name)) && (isWord || name.count < $0.count) ? $0 : nil
        }
    }

    /// The path of a Unix socket.
    fileprivate static var socketPath: Self {
        Self("the path of a Unix socket, 107 octets at most, that begins with /") { word in
            if case .unix(let path) = ServerAddress(word, defaultPort: 1) { path } else { nil }
        }
    }
}
