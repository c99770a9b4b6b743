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
}
