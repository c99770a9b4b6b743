import Glibc

/// A system call that failed.
package struct SystemError: Error, Equatable, CustomStringConvertible {
    /// What was tried, as it goes on after "cannot".
    package let call: String
    /// The file or address.
    package let subject: String
    /// The `errno` of the failure.
    package let code: Int32

    package init(_ call: String, _ subject: String, _ code: Int32) {
        self.call = call
        self.subject = subject
        self.code = code
    }

    /// What the code means, for example `Permission denied`.
    package var reason: String { String(cString: strerror(self.code)) }

    package var description: String { "cannot \(self.call) \(self.subject): \(self.reason)" }
}
