/// Something that reads octets from outside, and what has to hold for all of them.
struct FuzzTarget: Sendable {
    let name: String
    let play: @Sendable ([UInt8]) -> Void

    static let all = [
        FuzzTarget(name: "line", play: SMTPTargets.line),
        FuzzTarget(name: "data", play: SMTPTargets.data),
        FuzzTarget(name: "chunks", play: ChunkTarget.play),
        FuzzTarget(name: "address", play: SMTPTargets.address),
        FuzzTarget(name: "command", play: SMTPTargets.command),
        FuzzTarget(name: "header", play: SMTPTargets.header),
        FuzzTarget(name: "session", play: SessionTarget.play),
        FuzzTarget(name: "dialogue", play: DialogueTarget.play),
        FuzzTarget(name: "auth", play: SessionTarget.playLogins),
        FuzzTarget(name: "proxy", play: WireTargets.proxy),
        FuzzTarget(name: "hello", play: WireTargets.hello),
        FuzzTarget(name: "frame", play: WireTargets.frame),
        FuzzTarget(name: "verdict", play: WireTargets.verdict),
        FuzzTarget(name: "event", play: WireTargets.event),
        FuzzTarget(name: "resp", play: WireTargets.resp),
        FuzzTarget(name: "base64", play: WireTargets.base64),
        FuzzTarget(name: "mime", play: PluginTargets.mime),
        FuzzTarget(name: "embedded", play: PluginTargets.embedded),
        FuzzTarget(name: "spamd", play: PluginTargets.spamd),
        FuzzTarget(name: "nexthop", play: PluginTargets.nextHop),
        FuzzTarget(name: "spf", play: PluginTargets.spf),
        FuzzTarget(name: "results", play: PluginTargets.results),
        FuzzTarget(name: "dkim", play: SignatureTargets.play),
    ]

    static func named(_ name: String) -> FuzzTarget? { self.all.first { $0.name == name } }
}

/// Where an input is cut: its last octet says how.
///
/// 0 is octet by octet; else pieces of that many octets.
func pieces(_ octets: ArraySlice<UInt8>, cut: UInt8) -> [ArraySlice<UInt8>] {
    let size = max(1, Int(cut))
    return stride(from: octets.startIndex, to: octets.endIndex, by: size).map {
        octets[$0..<min($0 + size, octets.endIndex)]
    }
}
