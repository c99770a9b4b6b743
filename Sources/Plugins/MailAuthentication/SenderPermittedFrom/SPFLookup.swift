import DomainNames
import PolicyKit
import SPF

/// Runs evaluations of SPF with the worker's resolver.
struct SPFLookup: Sendable {
    let resolver: any NameResolver
    /// When all questions together are over.
    let deadline: ContinuousClock.Instant

    /// Evaluates; ``SPFResult/temperror`` at the deadline.
    func evaluate(_ identity: SPFIdentity) async -> SPFFinding {
        var evaluation = SPFEvaluation(identity)
        var step = evaluation.start()
        while true {
            switch step {
            case .done(let finding): return finding
            case .ask(let questions):
                let answers = await self.answers(to: questions)
                // Not before: an answer that did not come in time must not count as one.
                if .now >= self.deadline { return evaluation.timeIsOver() }
                step = evaluation.answered(answers)
            }
        }
    }

    private func answers(to questions: [SPFQuestion]) async -> [SPFAnswer] {
        if questions.count == 1, let question = questions.first {
            return [await self.answer(to: question)]
        }
        return await withTaskGroup(of: (Int, SPFAnswer).self) { group in
            for (index, question) in questions.enumerated() {
                group.addTask {
                    let answer = await self.answer(to: question)
                    return (index, answer)
                }
            }
            var answers = [SPFAnswer](repeating: .failure("no answer"), count: questions.count)
            for await (index, answer) in group { answers[index] = answer }
            return answers
        }
    }

    private func answer(to question: SPFQuestion) async -> SPFAnswer {
        guard let name = DNSName(escaping: question.name) else { return .nothing }
        let type: DNSRecordType =
            switch question.kind {
            case .txt: .txt
            case .a: .a
            case .aaaa: .aaaa
            case .mx: .mx
            case .ptr: .ptr
            }
        switch await self.resolver.query(name, type, deadline: self.deadline) {
        case .nxdomain, .nodata: return .nothing
        case .failure(let failure): return .failure("\(name): \(failure)")
        case .records(let records): return Self.answer(records)
        }
    }

    /// Records of one type.
    private static func answer(_ records: [DNSRecord]) -> SPFAnswer {
        var texts: [[UInt8]] = []
        var addresses: [IPAddress] = []
        var names: [[UInt8]] = []
        for record in records {
            switch record {
            case .text(let text): texts.append(text)
            case .address(let address): addresses.append(address)
            case .mx(_, let host): names.append(host.isRoot ? [] : Array(host.text.utf8))
            // It counts as one of the names, and leads nowhere.
            case .mxUnusable: names.append([])
            case .name(let name): names.append(Array(name.text.utf8))
            case .tlsa: break
            }
        }
        if !texts.isEmpty { return .texts(texts) }
        if !addresses.isEmpty { return .addresses(addresses) }
        return names.isEmpty ? .nothing : .names(names)
    }
}
