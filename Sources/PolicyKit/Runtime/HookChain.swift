import Logging
package import PolicyProtocol

/// The plugins that are asked and the plugins that are told at one hook, in the order of
/// `config/plugins`.
package struct HookChain: Sendable {
    struct Asked: Sendable {
        let instance: String
        let logger: Logger
        /// When it is asked; all of them must hold.
        let conditions: [LineCondition]
        let ask: @Sendable (HookContext) async throws -> Answer
    }

    struct Told: Sendable {
        let instance: String
        let logger: Logger
        /// When it is told; all of them must hold.
        let conditions: [LineCondition]
        let tell: @Sendable (HookContext) async throws -> Void
    }

    var asked: [Asked] = []
    var told: [Told] = []
    /// What any of them needs.
    package var needs: Needs = []
    /// Whether all of them are idempotent.
    package var isIdempotent = true
    /// The SMTP extensions that all of them keep.
    package var extensions = QueueExtensions.all

    /// Say of which plugins refusals are put off, by their names.
    var delays: [@Sendable (Substring, HookContext) -> Bool] = []

    /// Whether a plugin asked to observe the hook rather than to be asked.
    var isObserved = false

    /// Whether the frontend need not wait for an answer.
    package var isObserver: Bool { self.asked.isEmpty }
}

/// What came of asking a chain.
package enum ChainOutcome: Sendable {
    /// A plugin decided, or none did; `plugin` is the last one asked.
    case answered(Answer, plugin: String?)
    /// The plugin named answered no verdict.
    case failed(plugin: String?, code: ErrorCode, message: String)
}

/// Why there is no verdict: the `code` of an `error`.
package enum ErrorCode: String, Sendable, CaseIterable {
    /// The plugin threw.
    case pluginFailed = "exception"
    /// The plugin was still at work when the event's time was over.
    case deadline
    /// The frontend took the event back.
    case cancelled
    /// The plugin's answer is not allowed at this hook.
    case invalidVerdict = "invalid_verdict"
    /// Something that the plugins need did not fit into the event or cannot be read; nothing has
    /// begun.
    case incompleteEvent = "incomplete_event"
    /// The event cannot be read.
    case badEvent = "bad_event"
    /// No plugin of this worker answers at this hook; nothing has begun.
    case notSubscribed = "not_subscribed"
    /// The frontend sent more events than were agreed; nothing has begun.
    case overloaded

    /// Whether a plugin may have begun, so that the event goes to no other worker.
    package var isStarted: Bool {
        switch self {
        case .pluginFailed, .deadline, .cancelled, .invalidVerdict, .badEvent: true
        case .incompleteEvent, .notSubscribed, .overloaded: false
        }
    }
}

extension HookChain {
    /// Asks the plugins in order until one does not decline.
    ///
    /// - Returns: Always something: whatever a plugin does, the event gets its one answer.
    package func ask(_ context: HookContext) async -> ChainOutcome {
        // What is queued is stored before the chain ends: it must not begin with a part missing.
        if context.hook == .queue, let missing = context.missingPart(of: self.needs) {
            let code = ErrorCode.incompleteEvent
            return .failed(plugin: nil, code: code, message: missing.description)
        }
        for step in self.asked {
            context.begin(step.instance, step.logger)
            let answer: Answer
            do {
                // Without a call where there are none, as in nearly all lines.
                if !step.conditions.isEmpty, try !step.conditions.hold(in: context) { continue }
                answer = try await step.ask(context)
            } catch {
                let failure = context.failure ?? PluginError("\(error)")
                return .failed(
                    plugin: step.instance,
                    code: .pluginFailed,
                    message: failure.description
                )
            }
            if let failure = context.failure {
                return .failed(
                    plugin: step.instance,
                    code: .pluginFailed,
                    message: failure.description
                )
            }
            if let violation = answer.violation(at: context.hook) {
                return .failed(plugin: step.instance, code: .invalidVerdict, message: violation)
            }
            if !self.delays.isEmpty, self.isPutOff(answer, of: step.instance, context) {
                context.putOff(answer)
                context.end(.declined)
                continue
            }
            context.end(answer.verdict)
            guard answer.verdict == .declined else {
                return .answered(answer, plugin: step.instance)
            }
        }
        return .answered(.declined, plugin: nil)
    }

    /// Whether a refusal waits for RCPT.
    ///
    /// Not in a session that checks leave alone: after AUTH there is nothing to wait for.
    private func isPutOff(_ answer: Answer, of instance: String, _ context: HookContext) -> Bool {
        switch answer.verdict {
        case .deny, .denysoft, .deny_disconnect, .denysoft_disconnect: break
        case .declined, .ok, .done: return false
        }
        let name = instance.prefix { $0 != ":" }
        return !HookEvent<ObservedStage>(context).isImmune
            && self.delays.contains { $0(name, context) }
    }

    /// Tells the plugins in order; one that throws is logged and keeps nothing from the next.
    package func tell(_ context: HookContext) async {
        for step in self.told {
            context.begin(step.instance, step.logger)
            do {
                guard try step.conditions.hold(in: context) else { continue }
                try await step.tell(context)
            } catch {
                step.logger.error(
                    "notification failed",
                    metadata: ["hook": "\(context.hook.rawValue)", "error": "\(error)"]
                )
            }
        }
    }
}

extension LoadedPlugins {
    /// The hooks before RCPT at which a refusal may be put off.
    private static let delayable: Set<Hook> = [.connect, .helo, .ehlo, .mail]

    /// The chain of each hook that a plugin wants.
    package func chains() -> HookTable<HookChain> {
        var table = HookTable<HookChain>()
        for hook in Hook.allCases {
            var chain = HookChain()
            for entry in self.ordered(at: hook) {
                entry.join(&chain, at: hook)
            }
            if Self.delayable.contains(hook) {
                for entry in self.entries {
                    guard let delay = entry.plugin as? any RefusalDelay else { continue }
                    chain.needs.formUnion(entry.conditions.needs)
                    chain.delays.append { name, context in
                        delay.delaysRefusals(of: name)
                            && (try? entry.conditions.hold(in: context)) == true
                    }
                }
            }
            if !chain.asked.isEmpty || !chain.told.isEmpty {
                table[hook] = chain
            }
        }
        return table
    }
}

extension LoadedPlugins.Entry {
    fileprivate func join(_ chain: inout HookChain, at hook: Hook) {
        if let subscription = self.hooks[hook], let handler = self.handlers[hook] {
            chain.needs.formUnion(subscription.needs)
            chain.needs.formUnion(self.conditions.needs)
            switch handler {
            case .ask(let ask):
                chain.isIdempotent = chain.isIdempotent && subscription.isIdempotent
                chain.extensions.formIntersection(subscription.extensions)
                chain.asked.append(
                    HookChain.Asked(
                        instance: self.instance,
                        logger: self.logger,
                        conditions: self.conditions,
                        ask: ask
                    )
                )

            case .tell(let tell):
                chain.told.append(
                    HookChain.Told(
                        instance: self.instance,
                        logger: self.logger,
                        conditions: self.conditions,
                        tell: tell
                    )
                )
            }
        }
        if self.observed.contains(hook), let observer = self.plugin as? any ObserverHook {
            chain.needs.formUnion(observer.subscription(at: hook)?.needs ?? [])
            chain.needs.formUnion(self.conditions.needs)
            chain.isObserved = true
            chain.told.append(
                HookChain.Told(
                    instance: self.instance,
                    logger: self.logger,
                    conditions: self.conditions
                ) { context in
                    try await observer.observe(HookEvent(context))
                }
            )
        }
    }
}
