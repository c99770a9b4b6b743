public import Stores

/// What a plugin does when its store fails: the argument `on_store_failure`.
public enum StoreFailurePolicy: String, Sendable, CaseIterable {
    /// Decline, as if the plugin were not there.
    case decline
    /// Refuse for now: 451 4.3.0, at `connect` 421.
    case tempfail
}

/// What came of a plugin's calls of its store.
public enum StoreOutcome<Value: Sendable>: Sendable {
    /// The calls were made.
    case done(Value)
    /// The store failed, which the log says; the plugin returns this answer and changes nothing else.
    case failed(Answer)
}

/// The store of a plugin that takes the argument `on_store_failure`.
///
/// ```swift
/// self.store = configuration.guardedStore()                            // in the initialiser
/// …
/// let key = Bytes("tries \(event.session.client.ip)")
/// switch await self.store.use(event, { try await $0.add(1, to: key, expiresIn: .seconds(60)) }) {
/// case .failed(let answer): return answer
/// case .done(let tries): return tries > 20 ? .denysoft("Later") : .declined
/// }
/// ```
public struct PluginStore: Sendable {
    /// The time in which the calls of a notification end, which has no deadline of its own.
    private static let notificationTime = Duration.seconds(10)

    /// The store itself.
    public let store: any Store
    /// What happens when it fails.
    public let onFailure: StoreFailurePolicy

    /// A store, and what happens when it fails.
    public init(_ store: any Store, onFailure: StoreFailurePolicy) {
        self.store = store
        self.onFailure = onFailure
    }

    /// Makes calls of the store for an event, all of them within the event's ``HookEvent/workingTime``.
    ///
    /// - Parameters:
    ///   - event: The event.
    ///   - calls: Makes the calls, and throws what they throw.
    /// - Returns: What `calls` returned; if it failed or its time was over, what to answer.
    public func use<Stage, Value: Sendable>(
        _ event: HookEvent<Stage>,
        _ calls: @escaping @Sendable (any Store) async throws -> Value
    ) async -> StoreOutcome<Value> {
        let isTold = event.hook.isTold
        let time = isTold ? Self.notificationTime : max(event.workingTime, .zero)
        let store = self.store
        let result = await withTaskGroup(of: Result<Value, any Error>.self) { group in
            group.addTask {
                do {
                    let value = try await calls(store)
                    return .success(value)
                } catch {
                    return .failure(error)
                }
            }
            group.addTask {
                try? await Task.sleep(for: time)
                return .failure(StoreError(.unavailable, "no answer within the event's time"))
            }
            let first = await group.next()
            group.cancelAll()
            return first ?? .failure(StoreError(.unavailable, "no answer"))
        }
        switch result {
        case .success(let value): return .done(value)
        case .failure(let error): return .failed(self.answer(event, error))
        }
    }

    private func answer<Stage>(_ event: HookEvent<Stage>, _ error: any Error) -> Answer {
        let text = "Temporary failure, try again later"
        let refusal: Answer? =
            switch (self.onFailure, event.hook) {
            case (.decline, _): nil
            case (.tempfail, .connect), (.tempfail, .auth): .denysoft(text, status: "4.3.0")
            case (.tempfail, .data_headers_end):
                .denysoftDisconnect(text, code: 451, status: "4.3.0")
            case (.tempfail, .queue_pre): .done(451, "4.3.0", text)
            case (.tempfail, let hook):
                hook.takesDenysoft ? .denysoft(text, code: 451, status: "4.3.0") : nil
            }
        event.error(refusal == nil ? "\(error)" : "\(error); refused for now")
        return refusal ?? .declined
    }
}

extension Hook {
    /// Whether plugins are told of it and not asked.
    fileprivate var isTold: Bool {
        switch self {
        case .queue_post, .reset_transaction, .deny, .ok, .disconnect, .status: true
        default: false
        }
    }

    fileprivate var takesDenysoft: Bool {
        switch self {
        case .helo, .ehlo, .mail, .rcpt, .data, .data_post, .queue, .vrfy: true
        default: false
        }
    }
}

extension PluginConfiguration {
    /// The worker's store, the part with this name, and the shared argument `on_store_failure`
    /// (`decline` or `tempfail`).
    ///
    /// - Parameters:
    ///   - name: As of ``store(named:)``.
    ///   - policy: What `on_store_failure` is if the line does not say.
    /// - Returns: The store, to be kept.
    public func guardedStore(
        named name: String? = nil,
        onFailure policy: StoreFailurePolicy = .decline
    ) -> PluginStore {
        PluginStore(
            self.store(named: name),
            onFailure: self.argument(
                "on_store_failure",
                as: ArgumentType<StoreFailurePolicy>.choice,
                default: policy
            )
        )
    }
}
