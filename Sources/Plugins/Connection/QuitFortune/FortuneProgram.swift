import PolicyKit
import System

/// A program whose standard output is wanted.
struct FortuneProgram: Sendable {
    /// The most octets that are read.
    static let maximumOctets = 65_536

    let path: String
    let arguments: [String]

    static func isExecutable(_ path: String) -> Bool { Spawn.canStart(path) }

    /// Runs the program and reads what it says, on a thread that may wait.
    ///
    /// - Throws: ``PluginError`` if it cannot be run, takes longer than `deadline` (it is killed) or
    ///   ends with an error.
    func output(within deadline: Duration) throws -> [UInt8] {
        do throws(Spawn.Failure) {
            return try Spawn.output(
                of: [self.path] + self.arguments,
                within: deadline,
                limit: Self.maximumOctets
            )
        } catch {
            switch error {
            case .system(let error): throw PluginError("\(error)")
            case .killed: throw PluginError("\(self.path) took too long or said too much")
            case .ended(let code): throw PluginError("\(self.path) ended with status \(code)")
            }
        }
    }
}
