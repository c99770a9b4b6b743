import DMARC
import PolicyKit
import System

/// Counts messages for aggregate reports, in the store.
struct DMARCReportCounter: Sendable {
    /// The most rows of one domain on one day.
    static let rowsOfDomain = 10_000
    /// The most rows of one day.
    static let rowsOfDay = 200_000
    /// How long what was counted is kept after the last message that changed it.
    static let lifetime = Duration.seconds(4 * 86_400)

    let store: any Store

    /// Counts a message, if the domain's owner wants reports; a store that fails is told to the log alone.
    func count<Stage>(
        _ finding: DMARCFinding,
        _ row: DMARCReportRow,
        isByList: Bool,
        _ event: HookEvent<Stage>
    ) async {
        guard let record = finding.record, let domain = finding.policyDomain,
            !record.reportAddresses.isEmpty,
            finding.result == .pass || finding.result == .fail
        else { return }
        let day = Self.day(event.nowMilliseconds)
        let policy = DMARCPublishedPolicy(record, domain: domain, isByList: isByList)
        do {
            try await self.count(row, policy, day: day)
        } catch {
            event.error("not counted for the report: \(error)")
        }
    }

    private func count(
        _ row: DMARCReportRow,
        _ policy: DMARCPublishedPolicy,
        day: String
    ) async throws {
        let key = Bytes(DMARCReportKeys.row(row, policy.domain, day: day))
        var isNew = false
        try await self.store.update(key, expiresIn: Self.lifetime) { value in
            let known = value?.string.flatMap { DMARCReportKeys.read($0) }
            isNew = value == nil
            // Two rows of one digest: the first stays.
            if let known, known.row != row { return value }
            return Bytes(DMARCReportKeys.value(row, count: (known?.count ?? 0) + 1))
        }
        guard isNew else { return }
        for (domain, limit) in [(nil, Self.rowsOfDay), (policy.domain, Self.rowsOfDomain)] {
            let count = Bytes(DMARCReportKeys.count(domain, day: day))
            if try await self.store.add(1, to: count, expiresIn: Self.lifetime) > limit {
                try await self.store.delete(key)
                throw PluginError("\(day) has \(limit) rows already, \(domain ?? "all domains")")
            }
        }
        let published = Bytes(DMARCReportKeys.policy(policy.domain, day: day))
        try await self.store.set(published, to: Bytes(policy.text), expiresIn: Self.lifetime)
    }

    /// The day in UTC, as in `2026-01-31`.
    static func day(_ milliseconds: Int64) -> String {
        String(UTCTime(Int(milliseconds / 1_000)).text.prefix(10))
    }
}
