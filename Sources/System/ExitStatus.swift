import Glibc

/// The exit codes of Gatepost's programs, from sysexits.h.
package enum ExitStatus {
    /// The arguments are wrong.
    package static let usage: Int32 = 64
    /// A program, an address or a folder is missing or in use.
    package static let unavailable: Int32 = 69
    /// A mistake in the program.
    package static let software: Int32 = 70
    /// The configuration is wrong.
    package static let configuration: Int32 = 78

    /// Has `work` run before ``exit(_:)`` ends the process, or the return of its main function.
    package static func beforeExit(_ work: @escaping @convention(c) () -> Void) { atexit(work) }

    /// Ends this process; what ``beforeExit(_:)`` registered runs first.
    package static func exit(_ code: Int32) -> Never { Glibc.exit(code) }

    /// Ends this process and runs nothing first.
    package static func exitAtOnce(_ code: Int32) -> Never { _exit(code) }
}
