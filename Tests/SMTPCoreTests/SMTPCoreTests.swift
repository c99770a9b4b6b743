import SMTPCore
import Testing

@Test func `a session asks about the connection first`() {
    var session = SMTPSession(configuration: SMTPConfiguration(hostname: [UInt8]("mx".utf8)))
    #expect(session.connectionOpened() == .ask(.connect))
}
