import Configuration
import DNSResolver

/// Asks the DNS.
///
/// ```swift
/// self.resolver = try configuration.resolver()            // in the initialiser
/// …
/// switch await self.resolver.query(name, .txt, deadline: .now + event.remainingTime) {
/// case .records(let records): …
/// case .nxdomain, .nodata: …                               // for certain there is none
/// case .failure(let failure): …                            // nothing is certain
/// }
/// ```
///
/// The worker's resolver keeps answers as long as they say, and validates DNSSEC where `[dns]` has a
/// `trust_anchor_file`. It is safe from any
/// task. A test gives a `TestResolver` of PolicyKitTesting to its session.
public protocol NameResolver: Sendable {
    /// Asks one question.
    ///
    /// - Parameters:
    ///   - name: The name to look up; no search list is applied.
    ///   - type: The record type; class IN.
    ///   - deadline: When the answer is of no use any more; `nil`, or a time later than that: after
    ///     `timeout_ms` of `[dns]` in `config/worker.toml`.
    /// - Returns: The answer, at the latest at the deadline. Cancelling the task answers
    ///   `.failure(.cancelled)` at once.
    func query(
        _ name: DNSName,
        _ type: DNSRecordType,
        deadline: ContinuousClock.Instant?
    ) async -> DNSAnswer

    /// Asks the same, and says as well whether DNSSEC vouches for the answer.
    ///
    /// A resolver that does not have this function vouches for nothing.
    func lookUp(
        _ name: DNSName,
        _ type: DNSRecordType,
        deadline: ContinuousClock.Instant?
    ) async -> DNSLookup
}

extension NameResolver {
    /// The answer of ``query(_:_:deadline:)``, for which nothing vouches.
    public func lookUp(
        _ name: DNSName,
        _ type: DNSRecordType,
        deadline: ContinuousClock.Instant?
    ) async -> DNSLookup {
        DNSLookup(await self.query(name, type, deadline: deadline))
    }
}

extension UnboundResolver: NameResolver {}

extension PluginConfiguration {
    /// Whether ``resolver()`` can tell that DNSSEC vouches for an answer.
    package var validatesDNSSEC: Bool {
        self.shared.resolver != nil || self.shared.configuration.dns.trustAnchorFile != nil
    }

    /// The resolver that the worker's plugins share, as `[dns]` in `config/worker.toml` describes it.
    ///
    /// - Throws: ``PluginError`` if it cannot be set up.
    public func resolver() throws(PluginError) -> any NameResolver {
        if let resolver = self.shared.resolver { return resolver }
        let dns = self.shared.configuration.dns
        do {
            return try UnboundResolver.shared(
                DNSConfiguration(
                    servers: dns.servers.map { "[\($0.host)]:\($0.port)" },
                    trustAnchorFile: dns.trustAnchorFile,
                    timeout: .milliseconds(dns.timeoutMS)
                )
            )
        } catch {
            throw PluginError("no resolver: \(error)")
        }
    }
}
