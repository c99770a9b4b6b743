import Synchronization

/// The process of a worker, as the connections to it on several loops know it.
struct WorkerProcess: Hashable, Sendable {
    /// 0 if the process is in another PID namespace.
    let processID: Int32
    /// What the worker calls itself, where there is no pid.
    let identity: String

    init(processID: Int32, identity: String) {
        self.processID = processID
        self.identity = processID > 0 ? "" : identity
    }
}

/// The workers that hold a suspect, whichever loop sent it.
///
/// A suspect is sent to a worker that holds nothing else, so that we know what killed it. A worker is
/// connected to every loop, and two loops must not choose it for two suspects at once: if it died, both
/// would count as what killed it.
final class SuspectClaims: Sendable {
    /// The index of the loop that sent the suspect.
    private let loops = Mutex<[WorkerProcess: Int]>([:])

    /// - Returns: False if another loop's suspect is with the worker.
    func take(_ process: WorkerProcess, loop: Int) -> Bool {
        self.loops.withLock { loops in
            guard loops[process] == nil || loops[process] == loop else { return false }
            loops[process] = loop
            return true
        }
    }

    /// The loop's suspect is no longer with the worker.
    func giveBack(_ process: WorkerProcess, loop: Int) {
        self.loops.withLock { if $0[process] == loop { $0[process] = nil } }
    }
}
