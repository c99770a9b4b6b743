import PolicyKit
import StandardPlugins

await Worker.main(
    name: "gatepost-worker",
    plugins: [
        BadMailFrom.self, BadRcptTo.self, CountUnrecognizedCommands.self, EarlyTalker.self,
        Headers.self, HostsAllow.self, Loop.self, QueueDiscard.self, QuitFortune.self, RcptOK.self,
        Relay.self, SessionLog.self,
    ]
)
