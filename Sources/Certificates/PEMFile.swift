import Configuration
import NIOSSL

/// Files that the configuration names, in PEM.
enum PEMFile {
    /// The certificates of a file.
    static func certificates(
        _ file: String,
        _ remedy: String
    ) throws(ConfigurationErrors) -> [NIOSSLCertificate] {
        let octets = try Self.octets(file)
        do {
            return try NIOSSLCertificate.fromPEMBytes(octets)
        } catch {
            throw Self.error(file, "is not a certificate in PEM", remedy)
        }
    }

    static func octets(_ file: String) throws(ConfigurationErrors) -> [UInt8] {
        do throws(FileOctets.Failure) {
            return try FileOctets.read(file).octets
        } catch {
            throw Self.error(file, error.reason, "make it readable for the frontend's user")
        }
    }

    static func error(_ file: String, _ problem: String, _ remedy: String) -> ConfigurationErrors {
        ConfigurationErrors([
            ConfigurationError(file: file, line: nil, key: nil, problem: problem, remedy: remedy)
        ])
    }
}
