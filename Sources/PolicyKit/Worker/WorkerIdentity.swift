import Glibc

/// What a worker says of itself to a frontend.
struct WorkerIdentity: Sendable {
    /// What it is: workers of one name do the same work, and share what is only told.
    let name: String
    /// Its own version.
    let version: String
    /// Which of them it is.
    let instance: String
    /// PolicyKit's version.
    let sdk = "PolicyKit/0.1.0"
    let pid: Int32

    init(name: String, version: String) {
        self.name = name
        self.version = version
        self.pid = getpid()
        self.instance = "\(System.hostname):\(self.pid)"
    }
}
