import Logging
import NIOCore
import NIOPosix
import PolicyKitTesting
import Testing

@testable import PolicyKit
@testable import StandardPlugins

@Suite struct SMTPConnectionPoolTests {
    @Test func `more messages than connections wait for their turn`() async throws {
        let hop = try FakeHop()
        defer { hop.server.stop() }
        let folder = try ScratchFolder()
        try folder.write(Array("body\r\n".utf8), "spool")
        var limits = SMTPConnectionPool.Limits()
        limits.connections = 3
        let route = [hop.server.address]
        let next = NextHops(
            loop: MultiThreadedEventLoopGroup.singleton.any(),
            settings: NextHops.Settings(limits: limits),
            machine: SMTPClientMachine(name: "mx.example", deliversPartially: false),
            logger: Logger(label: "test")
        )
        let message = Message(
            headers: [],
            file: MessageReference(path: "\(folder.path)/spool", size: 6, bodyOffset: 0)
        )
        let taken = await withTaskGroup(of: Bool.self) { group in
            for index in 0..<60 {
                group.addTask {
                    let envelope = SMTPEnvelope(
                        sender: [],
                        recipients: [Array("r\(index)@example.org".utf8)],
                        size: 6,
                        is8BitMIME: false,
                        isSMTPUTF8: false
                    )
                    let deadline = NIODeadline.now() + .seconds(20)
                    let report = try? await next.deliver(
                        [NextHops.Group(route: route, envelope: envelope)],
                        message,
                        until: deadline
                    )
                    guard let report, report.failure == nil, report.taken.count == 1 else {
                        return false
                    }
                    return true
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(taken == 60)
        #expect(hop.messages.count == 60)
        #expect(hop.server.connections <= 3)
        let recipients = hop.commands.filter { $0.hasPrefix("RCPT") }
        #expect(Set(recipients).count == 60 && recipients.count == 60)
        try await next.stop()
    }

    @Test func `a message that finds no free connection in time is deferred`() async throws {
        let silent = try TestServer { $0.waitForEnd() }
        defer { silent.stop() }
        var limits = SMTPConnectionPool.Limits()
        limits.connections = 1
        let route = [silent.address]
        let next = NextHops(
            loop: MultiThreadedEventLoopGroup.singleton.any(),
            settings: NextHops.Settings(limits: limits),
            machine: SMTPClientMachine(name: "mx.example", deliversPartially: false),
            logger: Logger(label: "test")
        )
        let envelope = SMTPEnvelope(
            sender: [],
            recipients: [[0x61]],
            size: 0,
            is8BitMIME: false,
            isSMTPUTF8: false
        )
        let message = Message(
            headers: [],
            file: MessageReference(path: "/dev/null", size: 0, bodyOffset: 0)
        )
        let codes = await withTaskGroup(of: SMTPForwardError.Code?.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    let deadline = NIODeadline.now() + .milliseconds(300)
                    let group = NextHops.Group(route: route, envelope: envelope)
                    let report = try? await next.deliver([group], message, until: deadline)
                    guard case .error(let error)? = report?.failure?.reason else { return nil }
                    return error.code
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(codes.count == 2 && !codes.contains(nil))
        #expect(codes.contains(.timedOut))
        try await next.stop()
    }
}
