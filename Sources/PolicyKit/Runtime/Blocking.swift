import NIOPosix

/// Runs `body` on a thread of its own, for work that blocks: files, fsync, a library that waits.
///
/// A plugin's methods run on the worker's event loop, where nothing may wait: while one waits, no
/// other event is answered.
///
/// - Throws: What `body` throws, or `CancellationError` if the task was cancelled before it began.
public func withBlockingThread<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
) async throws -> Value {
    try Task.checkCancellation()
    return try await NIOThreadPool.singleton.runIfActive(body)
}
