import Archives
import ArgumentParser
import Configuration
import DMARC
import DomainNames
import Glibc
import PolicyProtocol
import Stores
import System

/// `gatepost dmarc`: what the plugin `dmarc` counted, for the owners of domains.
struct DMARCCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dmarc",
        abstract: "Writes the aggregate reports that owners of domains asked for (DMARC).",
        subcommands: [Report.self]
    )

    struct Report: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Writes a day's reports, one file a domain, and prints where each belongs.",
            discussion: """
                The plugin dmarc counts with reporting 1, for four days, in the [store] of worker.toml; this reads that \
                store as the worker's user. A file has the form and the name of RFC 9990, and gzip's format. For each \
                one a line is printed: its path, then the addresses that the owner published. Nothing is sent. Exit \
                code 0: done, \
                also if there was nothing to report; 1: a file cannot be written; 64: wrong arguments; 69: the store \
                cannot be used; 78: a mistake in worker.toml.
                """
        )

        /// The most rows of a report.
        private static let maximumRows = 10_000
        /// The most domains of a day.
        private static let maximumDomains = 100_000

        @OptionGroup var place: StorePlace

        @Option(help: "Only the report of this domain.")
        var domain: String?

        @Option(help: "The day in UTC, as in 2026-01-31; without it, yesterday.")
        var day: String?

        @Option(help: "The folder for the files, which must be there.")
        var output: String

        @Flag(help: "Files are plain XML, as in .xml, and not compressed, as in .xml.gz.")
        var plain = false

        @Option(help: "The name of your organisation; without it, the name of this server.")
        var org: String?

        @Option(help: "Where owners can ask; without it, postmaster at the name of this server.")
        var email: String?

        func run() throws {
            let begin = try self.begin()
            let day = String(UTCTime(begin).text.prefix(10))
            let domain = self.domain?.lowercased()
            let found = try self.place.perform(for: "dmarc") { store in
                try await Self.collect(store, domain, day: day)
            }
            guard let found, !found.isEmpty else {
                StandardError.write("gatepost dmarc: nothing was counted for \(day)")
                return
            }
            let server = try self.place.hostname()
            let metadata = DMARCReport.Metadata(
                organisation: self.org ?? server,
                contact: self.email ?? "postmaster@\(server)",
                receiver: server,
                generator: "Gatepost \(GatepostVersion.text)",
                begin: begin,
                end: begin + 86_399
            )
            for (policy, rows) in found {
                let report = DMARCReport(metadata, policy, rows: rows)
                let path = "\(self.output)/\(report.fileName(isCompressed: !self.plain))"
                do throws(SystemError) {
                    try self.write(Array(report.xml.utf8), to: path)
                } catch {
                    StandardError.write("gatepost dmarc: \(error)")
                    throw ExitCode(1)
                }
                StandardOutput.write(([path] + policy.reportAddresses).joined(separator: " "))
            }
        }

        /// The first second of the day, as Unix time.
        private func begin() throws -> Int {
            let yesterday = UnixTime.seconds / 86_400 * 86_400 - 86_400
            guard let day = self.day else { return yesterday }
            // At most some years back: the store does not keep more anyway.
            for back in -1...3_660 {
                let second = yesterday - back * 86_400
                if UTCTime(second).text.hasPrefix("\(day)T") { return second }
            }
            throw ValidationError("--day must be a day of the last ten years, as in 2026-01-31")
        }

        private static func collect(
            _ store: any Store,
            _ domain: String?,
            day: String
        ) async throws -> [(DMARCPublishedPolicy, [(row: DMARCReportRow, count: Int)])] {
            let policies: [StoreEntry]
            if let domain {
                let key = Bytes("dmarc/\(DMARCReportKeys.policy(domain, day: day))")
                policies = try await store.entry(key).map { [$0] } ?? []
            } else {
                policies = try await store.scan(
                    prefix: Bytes("dmarc/\(DMARCReportKeys.policies(day: day))"),
                    limit: self.maximumDomains
                )
            }
            var found: [(DMARCPublishedPolicy, [(row: DMARCReportRow, count: Int)])] = []
            for entry in policies {
                // The domain becomes part of a file's name.
                guard let policy = entry.value.string.flatMap({ DMARCPublishedPolicy(text: $0) }),
                    DNSName(policy.domain) != nil
                else { continue }
                let prefix = Bytes("dmarc/\(DMARCReportKeys.rows(policy.domain, day: day))")
                let rows = try await store.scan(prefix: prefix, limit: self.maximumRows)
                    .compactMap { $0.value.string.flatMap { DMARCReportKeys.read($0) } }
                if !rows.isEmpty { found.append((policy, rows)) }
            }
            return found.sorted { $0.0.domain < $1.0.domain }
        }

        /// Writes a file in one step: whoever sends what is in the folder never finds half of one.
        private func write(_ xml: [UInt8], to path: String) throws(SystemError) {
            guard let octets = self.plain ? xml : GzipFile.octets(of: xml) else {
                throw SystemError("write", path, ENOMEM)
            }
            let temporary = "\(path).new"
            let file = try Descriptor(opening: temporary, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o640)
            try file.write(octets.span)
            guard rename(temporary, path) == 0 else { throw SystemError("rename", path, errno) }
        }
    }
}
