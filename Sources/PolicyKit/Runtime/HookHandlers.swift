/// How a plugin is asked, or told, at one hook.
enum HookHandler: Sendable {
    case ask(@Sendable (HookContext) async throws -> Answer)
    case tell(@Sendable (HookContext) async throws -> Void)
}

extension HookHandler {
    /// The hooks that `plugin` conforms to, with the method of each.
    static func all(of plugin: any Plugin) -> [Hook: HookHandler] {
        self.commands(of: plugin)
            .merging(self.message(of: plugin)) { first, _ in first }
            .merging(self.others(of: plugin)) { first, _ in first }
            .merging(self.notifications(of: plugin)) { first, _ in first }
    }

    private static func commands(of plugin: any Plugin) -> [Hook: HookHandler] {
        var handlers: [Hook: HookHandler] = [:]
        if let plugin = plugin as? any ConnectHook {
            handlers[.connect] = .ask { try await plugin.connect(HookEvent($0)) }
        }
        if let plugin = plugin as? any HeloHook {
            handlers[.helo] = .ask { try await plugin.helo(HookEvent($0)) }
        }
        if let plugin = plugin as? any EhloHook {
            handlers[.ehlo] = .ask { try await plugin.ehlo(HookEvent($0)) }
        }
        if let plugin = plugin as? any AuthHook {
            handlers[.auth] = .ask { try await plugin.auth(HookEvent($0)) }
        }
        if let plugin = plugin as? any MailHook {
            handlers[.mail] = .ask { try await plugin.mail(HookEvent($0)) }
        }
        if let plugin = plugin as? any RcptHook {
            handlers[.rcpt] = .ask { try await plugin.rcpt(HookEvent($0)) }
        }
        if let plugin = plugin as? any DataHook {
            handlers[.data] = .ask { try await plugin.data(HookEvent($0)) }
        }
        return handlers
    }

    private static func message(of plugin: any Plugin) -> [Hook: HookHandler] {
        var handlers: [Hook: HookHandler] = [:]
        if let plugin = plugin as? any DataHeadersEndHook {
            handlers[.data_headers_end] = .ask { try await plugin.dataHeadersEnd(HookEvent($0)) }
        }
        if let plugin = plugin as? any ReceivedLineHook {
            handlers[.received_line] = .ask { try await plugin.receivedLine(HookEvent($0)) }
        }
        if let plugin = plugin as? any DataPostHeadersHook {
            handlers[.data_post_headers] = .ask { try await plugin.dataPostHeaders(HookEvent($0)) }
        }
        if let plugin = plugin as? any DataPostHook {
            handlers[.data_post] = .ask { try await plugin.dataPost(HookEvent($0)) }
        }
        if let plugin = plugin as? any QueuePreHook {
            handlers[.queue_pre] = .ask { try await plugin.queuePre(HookEvent($0)) }
        }
        if let plugin = plugin as? any QueueHook {
            handlers[.queue] = .ask { try await plugin.queue(HookEvent($0)) }
        }
        return handlers
    }

    private static func others(of plugin: any Plugin) -> [Hook: HookHandler] {
        var handlers: [Hook: HookHandler] = [:]
        if let plugin = plugin as? any VrfyHook {
            handlers[.vrfy] = .ask { try await plugin.vrfy(HookEvent($0)) }
        }
        if let plugin = plugin as? any HelpHook {
            handlers[.help] = .ask { try await plugin.help(HookEvent($0)) }
        }
        if let plugin = plugin as? any NoopHook {
            handlers[.noop] = .ask { try await plugin.noop(HookEvent($0)) }
        }
        if let plugin = plugin as? any UnrecognizedCommandHook {
            handlers[.unrecognized_command] = .ask {
                try await plugin.unrecognizedCommand(HookEvent($0))
            }
        }
        if let plugin = plugin as? any QuitHook {
            handlers[.quit] = .ask { try await plugin.quit(HookEvent($0)) }
        }
        return handlers
    }

    private static func notifications(of plugin: any Plugin) -> [Hook: HookHandler] {
        var handlers: [Hook: HookHandler] = [:]
        if let plugin = plugin as? any QueuePostHook {
            handlers[.queue_post] = .tell { try await plugin.queuePost(HookEvent($0)) }
        }
        if let plugin = plugin as? any ResetTransactionHook {
            handlers[.reset_transaction] = .tell {
                try await plugin.resetTransaction(HookEvent($0))
            }
        }
        if let plugin = plugin as? any DenyHook {
            handlers[.deny] = .tell { try await plugin.deny(HookEvent($0)) }
        }
        if let plugin = plugin as? any OkHook {
            handlers[.ok] = .tell { try await plugin.ok(HookEvent($0)) }
        }
        if let plugin = plugin as? any DisconnectHook {
            handlers[.disconnect] = .tell { try await plugin.disconnect(HookEvent($0)) }
        }
        if let plugin = plugin as? any StatusHook {
            handlers[.status] = .tell { try await plugin.status(HookEvent($0)) }
        }
        return handlers
    }
}
