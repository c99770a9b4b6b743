import NetworkPlugins
import PolicyKit
import StandardPlugins

await Worker.main(
    name: "gatepost-worker",
    plugins: [
        BadMailFrom.self, BadRcptTo.self, CountUnrecognizedCommands.self, EarlyTalker.self,
        Headers.self, HostsAllow.self, Loop.self, QueueDiscard.self, QueueMaildir.self,
        QueueSMTPForward.self, QuitFortune.self, RcptOK.self, Relay.self, ResolvableFromhost.self,
        SessionLog.self, SpamAssassin.self,
    ]
)
