/// The version of Gatepost: of its programs and of PolicyKit.
package enum GatepostVersion {
    /// What programs print for `--version`, and what they say to each other in `hello` and `welcome`.
    package static let text = "0.1.0"
}
