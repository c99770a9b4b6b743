import Glibc
import Testing

@testable import System

@Suite struct SystemdTests {
    /// One process has one environment, so all of it is one test.
    @Test func `sockets are taken once, by the process they are meant for`() {
        setenv("LISTEN_PID", "1", 1)
        setenv("LISTEN_FDS", "2", 1)
        setenv("LISTEN_FDNAMES", "mx:submission", 1)
        Systemd.prepare()
        #expect(Systemd.sockets.isEmpty)
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"] {
            #expect(getenv(name) == nil)
        }
        Systemd.notify("READY=1")
    }

    @Test func `a socket is the listener's whose name it has`() {
        let sockets = ["submission", "smtp.socket", "mx", "mx"].enumerated().map { index, name in
            Systemd.PassedSocket(name: name, descriptor: Int32(3 + index))
        }
        let (matched, unmatched) = Systemd.match(sockets, listeners: ["mx", "submission", "other"])
        #expect(matched == ["mx": 5, "submission": 3])
        #expect(unmatched.map(\.descriptor) == [4, 6])
    }

    @Test func `names go with descriptors, from 3 on`() {
        #expect(
            Systemd.sockets(process: getpid(), count: 2, names: "mx:")
                == [
                    Systemd.PassedSocket(name: "mx", descriptor: 3),
                    Systemd.PassedSocket(name: "", descriptor: 4),
                ]
        )
        #expect(Systemd.sockets(process: getpid(), count: -1, names: "").isEmpty)
        #expect(Systemd.sockets(process: getpid(), count: 1_025, names: "").isEmpty)
        #expect(Systemd.sockets(process: nil, count: 1, names: "").isEmpty)
    }
}

@Suite struct HeartbeatTests {
    @Test func `twice as often as systemd looks, and at least once a second`() {
        #expect(Heartbeat.systemdInterval(process: nil, microseconds: 20_000_000) == 1_000)
        #expect(Heartbeat.systemdInterval(process: getpid(), microseconds: 500_000) == 250)
        #expect(Heartbeat.systemdInterval(process: nil, microseconds: 1) == 1)
    }

    @Test func `not for another process, and not without a number`() {
        #expect(Heartbeat.systemdInterval(process: getpid() + 1, microseconds: 1_000) == nil)
        #expect(Heartbeat.systemdInterval(process: nil, microseconds: nil) == nil)
        #expect(Heartbeat.systemdInterval(process: nil, microseconds: 0) == nil)
        #expect(Heartbeat.systemdInterval(process: nil, microseconds: -5) == nil)
    }
}
