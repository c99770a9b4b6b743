import Configuration
import System

/// What a worker says of itself to a frontend.
struct WorkerIdentity: Sendable {
    /// What it is: workers of one name do the same work, and share what is only told.
    let name: String
    /// Its own version.
    let version: String
    /// Which of them it is.
    let instance: String
    /// PolicyKit's version.
    let sdk: String
    let pid: Int64

    init(name: String, version: String, instance: String, sdk: String, pid: Int64) {
        self.name = name
        self.version = version
        self.instance = instance
        self.sdk = sdk
        self.pid = pid
    }

    /// This process as a worker.
    init(name: String, version: String) {
        let pid = Int64(Machine.processID)
        self.init(
            name: name,
            version: version,
            instance: "\(Machine.hostname):\(pid)",
            sdk: "PolicyKit/\(GatepostVersion.text)",
            pid: pid
        )
    }
}
