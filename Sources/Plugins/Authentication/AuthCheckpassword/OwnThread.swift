import System

/// Runs `body` on a thread that is made for it: what waits for seconds must not take the threads that
/// others need to store mail.
///
/// - Returns: What `body` returns; `nil` if no thread could be made.
func onThreadOfItsOwn<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value? {
    await withCheckedContinuation { continuation in
        let hasStarted = BackgroundThread.start(stackOctets: 262_144) {
            continuation.resume(returning: body())
        }
        if !hasStarted { continuation.resume(returning: nil) }
    }
}
