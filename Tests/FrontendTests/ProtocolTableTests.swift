import Configuration
import PolicyCore
import PolicyProtocol
import ProtocolTables
import Testing

@testable import Frontend
@testable import PoolCore

/// What the frontend knows of hooks and codes is what `protocol/hooks.json` and `words.json` say.
@Suite struct ProtocolTableTests {
    @Test(arguments: ProtocolTables.asked)
    func `a pool asks with the row's deadline, and twice only without side effects`(
        row: HookRow
    ) throws {
        let configuration = FrontendConfiguration.Pool(name: "policy", defaultsFor: .tempfail)
        let settings = PoolSettings(configuration, share: .whole)
        let index = try #require(row.hook).index
        #expect(settings.deadlines[Int(index)].ordinaryNS == UInt64(row.deadlineMS) * 1_000_000)
        let mask = HookNumbers(hook: index)
        #expect(settings.hooksWithSideEffects.contains(mask) == row.hasSideEffects)
    }

    @Test func `failures and their policies are those of the table`() {
        let failures = PoolFailure.allCases.map(\.rawValue)
        #expect(failures == ProtocolTables.words("failures"))
        let policies = FailurePolicy.allCases.map(\.rawValue)
        #expect(policies == ProtocolTables.words("failure_policies"))
    }

    @Test func `an event is taken back for the reasons of the table`() {
        let reasons = PoolAction.CancelReason.allCases.map(\.rawValue)
        #expect(reasons == ProtocolTables.words("cancel_reasons"))
    }

    @Test func `a question is tried as often as the table says`() {
        #expect(PoolMachine.maximumAttempts == ProtocolTables.limit("attempts"))
        #expect(TicketSlot.maximumLosses == ProtocolTables.limit("losses"))
        #expect(Int(WorkerSlot.maximumExtensions) == ProtocolTables.limit("progress"))
    }
}
