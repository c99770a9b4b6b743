import Configuration
import PolicyKit
import PublicSuffixes

/// The list of public suffixes that an argument names.
struct PublicSuffixFile: Sendable {
    /// Where Debian's package `publicsuffix` has it.
    static let usualPath = "/usr/share/publicsuffix/public_suffix_list.dat"

    private let file: WatchedFile<PublicSuffixList>?

    /// Takes the argument `public_suffix_list`; without it the usual file counts, and without that an empty list, of
    /// which the operator is warned.
    ///
    /// - Throws: ``PluginError`` if the file that is named cannot be read.
    init(_ configuration: PluginConfiguration) throws(PluginError) {
        let named = configuration.argument("public_suffix_list", as: .text)
        let path = named.map { configuration.resolve(path: $0) } ?? Self.usualPath
        do {
            self.file = try WatchedFile(path, logger: configuration.logger) { path in
                let list = PublicSuffixList(try FileOctets.read(path).octets)
                guard list.count > 0 else { throw PluginError("it has no rules") }
                return list
            }
        } catch {
            let reason = (error as? FileOctets.Failure)?.reason ?? "\(error)"
            guard named == nil else { throw PluginError("public_suffix_list \(path): \(reason)") }
            configuration.warn(
                "\(path): \(reason); install Debian's package publicsuffix or name a file with public_suffix_list: "
                    + "until then co.uk counts as a domain that someone registered"
            )
            self.file = nil
        }
    }

    /// The list as the file now is.
    func list() async throws -> PublicSuffixList {
        try await self.file?.value() ?? PublicSuffixList()
    }
}
