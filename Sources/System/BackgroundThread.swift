import Glibc

/// Starts threads.
package enum BackgroundThread {
    private final class Body: Sendable {
        let run: @Sendable () -> Void

        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Starts a thread that runs `body` and ends with it; every signal is blocked in it, because
    /// signals are for the other threads of the program.
    ///
    /// - Parameters:
    ///   - stackOctets: The size of its stack.
    ///   - body: What it runs.
    /// - Returns: Whether it was started.
    package static func start(stackOctets: Int, _ body: @escaping @Sendable () -> Void) -> Bool {
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, stackOctets)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let body = Unmanaged.passRetained(Body(body))
        let code = pthread_create(
            &thread,
            &attributes,
            { argument in
                if let argument {
                    Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                }
                return nil
            },
            body.toOpaque()
        )
        if code != 0 { body.release() }
        return code == 0
    }
}

/// A semaphore: `post` never waits, and one post ends one `wait`.
package final class Semaphore: @unchecked Sendable {
    /// POSIX makes its operations safe on any thread.
    private let semaphore = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)

    package init() {
        self.semaphore.initialize(to: sem_t())
        sem_init(self.semaphore, 0, 0)
    }

    deinit {
        sem_destroy(self.semaphore)
        self.semaphore.deallocate()
    }

    package func post() { sem_post(self.semaphore) }

    /// May return early, after a signal.
    package func wait() { sem_wait(self.semaphore) }
}
