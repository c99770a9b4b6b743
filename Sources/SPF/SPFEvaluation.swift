package import Addresses
import DomainNames
import Octets

/// Whom an evaluation is about.
package struct SPFIdentity: Sendable, Equatable {
    /// The client's address.
    package let client: IPAddress
    /// What the client said at HELO or EHLO, in lower case and in A-labels.
    package let hello: [UInt8]
    /// The local part of the sender; `postmaster` where there is none (RFC 7208 §4.3).
    package let local: [UInt8]
    /// The domain that is asked about, in lower case and in A-labels.
    package let domain: [UInt8]
    /// The name of this server, for explanations.
    package let receiver: [UInt8]
    /// Unix time in seconds, for explanations.
    package let seconds: Int64

    /// The identity of a sender, or of the client's name where the sender is null (RFC 7208 §2.4).
    ///
    /// `sender` is the reverse-path without its brackets.
    package init(
        client: IPAddress,
        hello: [UInt8],
        sender: [UInt8],
        receiver: [UInt8] = [],
        seconds: Int64 = 0
    ) {
        let hello = DomainSpelling.canonical(hello)
        self.client = client
        self.hello = hello
        self.receiver = receiver
        self.seconds = seconds
        let at = sender.lastIndex(of: .at)
        let local = sender[..<(at ?? sender.startIndex)]
        self.local = local.isEmpty ? Array("postmaster".utf8) : Array(local)
        if sender.isEmpty {
            self.domain = hello
        } else {
            let domain = at.map { sender[($0 + 1)...] } ?? sender[...]
            self.domain = DomainSpelling.canonical(Array(domain))
        }
    }
}

/// `check_host()` of RFC 7208 as a state machine: it is told answers of the DNS, and says what it wants to ask
/// next or what it found.
///
/// Ends after ``maximumTerms`` terms that ask the DNS, each with ``maximumNames`` names at most, so after 21
/// rounds of questions. A record's length is limited by the DNS itself.
package struct SPFEvaluation: Sendable {
    /// What is to be done next.
    package enum Step: Sendable, Equatable {
        /// Ask all of these, at once or one after the other, and tell ``answered(_:)`` the answers in the
        /// same order.
        case ask([SPFQuestion])
        /// It is over.
        case done(SPFFinding)
    }

    /// Terms that ask the DNS (RFC 7208 §4.6.4).
    package static let maximumTerms = 10
    /// Terms whose name or records do not exist.
    package static let maximumVoidTerms = 2
    /// Names of one MX or PTR answer.
    package static let maximumNames = 10

    /// What a record is wanted for.
    private enum Role: Sendable {
        case sender
        case included
        case redirected
    }

    /// A record under evaluation; behind the first one stand those that were included.
    private struct Frame: Sendable {
        var domain: [UInt8]
        var record: SPFRecord
        var index = 0

        var directive: SPFDirective? {
            self.record.directives.indices.contains(self.index)
                ? self.record.directives[self.index] : nil
        }
    }

    /// What the answers are to that come next.
    private enum Expectation: Sendable {
        case nothing
        case record(domain: [UInt8], Role)
        case addresses(SPFPrefixLengths)
        case exchanges(SPFPrefixLengths)
        case exchangeAddresses(SPFPrefixLengths)
        case existence
        case clientNames
        case clientAddresses([[UInt8]])
        case explanation
    }

    private let identity: SPFIdentity
    private var frames: [Frame] = []
    private var expectation = Expectation.nothing
    private var questionCount = 0
    /// Names of the client that lead back to it; `nil` before they were asked for.
    private var clientNames: [[UInt8]]?
    private var terms = 0
    private var voidTerms = 0
    /// Whether the current term was counted, as one that asks and as one without an answer.
    private var isTermCounted = false
    private var isTermVoid = false
    /// The result, once only the explanation is missing.
    private var verdict: (result: SPFResult, mechanism: String?)?
    private var explanationText: SPFMacroString?

    package init(_ identity: SPFIdentity) { self.identity = identity }

    // MARK: What happens

    /// Begins; called once.
    package mutating func start() -> Step {
        let domain = self.identity.domain
        guard SPFNames.isQueryable(domain), domain.contains(.dot), domain.first != .openingBracket
        else {
            return self.finish(.none, problem: "no domain name")
        }
        return self.ask(domain, .txt, .record(domain: domain, .sender))
    }

    /// The answers to all questions of the last step, in their order.
    ///
    /// Answers that are missing are failures.
    package mutating func answered(_ answers: [SPFAnswer]) -> Step {
        let expectation = self.expectation
        self.expectation = .nothing
        let none = SPFAnswer.failure("no answer")
        let missing = max(0, self.questionCount - answers.count)
        let answers = answers + Array(repeating: none, count: missing)
        let first = answers.first ?? none
        switch expectation {
        case .nothing: return self.run()
        case .record(let domain, let role): return self.took(first, domain, role)
        case .addresses(let lengths): return self.took(answers, lengths, mayBeVoid: true)
        // What does not exist here is a host of the exchanges, and these do.
        case .exchangeAddresses(let lengths): return self.took(answers, lengths, mayBeVoid: false)
        case .exchanges(let lengths): return self.took(exchanges: first, lengths)
        case .existence:
            if case .failure(let reason) = first { return self.finish(.temperror, reason) }
            if case .addresses(let found) = first, !found.isEmpty { return self.matched() }
            return self.unmatched(isVoid: true)

        case .clientNames: return self.took(clientNames: first)
        case .clientAddresses(let names):
            let pairs = zip(names, answers)
            self.clientNames = pairs.filter { _, answer in
                guard case .addresses(let addresses) = answer else { return false }
                return addresses.contains(self.identity.client)
            }.map(\.0)
            return self.run()

        case .explanation:
            // RFC 7208 §6.2: one record, or there is no explanation.
            if case .texts(let texts) = first, texts.count == 1, let text = texts.first {
                self.explanationText = SPFMacroString(text, in: .explanation)
            }
            return self.explain()
        }
    }

    /// The time for all questions is over: ``SPFResult/temperror``, or the result without its explanation.
    package func timeIsOver() -> SPFFinding {
        guard let verdict = self.verdict else {
            return self.found(.temperror, problem: "the time is over")
        }
        return self.found(verdict.result, mechanism: verdict.mechanism)
    }

    // MARK: Answers

    private mutating func took(_ answer: SPFAnswer, _ domain: [UInt8], _ role: Role) -> Step {
        var records: [[UInt8]] = []
        switch answer {
        case .failure(let reason):
            return self.finish(.temperror, "\(Self.text(domain)): \(reason)")

        case .texts(let texts): records = texts.filter { SPFRecord.isRecord($0) }
        case .nothing, .addresses, .names: break
        }
        guard let text = records.first else {
            switch role {
            case .sender: return self.finish(.none, problem: "no SPF record")
            case .included, .redirected:
                return self.finish(.permerror, "\(Self.text(domain)) has no SPF record")
            }
        }
        guard records.count == 1 else {
            return self.finish(.permerror, "\(Self.text(domain)) has several SPF records")
        }
        let record: SPFRecord
        do {
            record = try SPFRecord(text)
        } catch {
            return self.finish(.permerror, "\(Self.text(domain)): \(error)")
        }
        if role == .redirected, !self.frames.isEmpty { self.frames.removeLast() }
        self.frames.append(Frame(domain: domain, record: record))
        self.beginTerm()
        return self.run()
    }

    private mutating func took(
        _ answers: [SPFAnswer],
        _ lengths: SPFPrefixLengths,
        mayBeVoid: Bool
    ) -> Step {
        var isVoid = false
        for answer in answers {
            switch answer {
            case .failure(let reason): return self.finish(.temperror, reason)
            case .addresses(let addresses):
                let client = self.identity.client
                if addresses.contains(where: { lengths.contains(client, near: $0) }) {
                    return self.matched()
                }
            case .nothing, .names, .texts: isVoid = mayBeVoid
            }
        }
        return self.unmatched(isVoid: isVoid)
    }

    private mutating func took(exchanges answer: SPFAnswer, _ lengths: SPFPrefixLengths) -> Step {
        guard case .names(let names) = answer else {
            if case .failure(let reason) = answer { return self.finish(.temperror, reason) }
            return self.unmatched(isVoid: true)
        }
        guard names.count <= Self.maximumNames else {
            return self.finish(.permerror, "more than \(Self.maximumNames) MX names")
        }
        let hosts = names.map { SPFNames.canonical($0) }.filter { SPFNames.isQueryable($0) }
        if hosts.isEmpty { return self.unmatched(isVoid: false) }
        return self.ask(hosts, self.addressKind, .exchangeAddresses(lengths))
    }

    private mutating func took(clientNames answer: SPFAnswer) -> Step {
        self.clientNames = []
        guard case .names(let names) = answer else {
            if case .nothing = answer, self.verdict == nil, !self.countVoid() {
                return self.tooManyVoids()
            }
            return self.run()
        }
        let hosts = names.prefix(Self.maximumNames).map { SPFNames.canonical($0) }
            .filter { SPFNames.isQueryable($0) }
        if hosts.isEmpty { return self.run() }
        return self.ask(hosts, self.addressKind, .clientAddresses(hosts))
    }

    // MARK: Terms

    /// Goes on with the current term until something has to be asked.
    private mutating func run() -> Step {
        while true {
            if self.verdict != nil { return self.explain() }
            guard let frame = self.frames.last else { return self.finish(.none, problem: nil) }
            guard let directive = frame.directive else {
                if let redirect = frame.record.redirect {
                    return self.redirect(to: redirect, frame)
                }
                if let step = self.recordEnded(.neutral, nil) { return step }
                continue
            }
            switch directive.mechanism {
            case .all:
                if let step = self.recordEnded(directive.qualifier.result, directive.text) {
                    return step
                }
            case .network(let network):
                guard network.contains(self.identity.client) else {
                    self.next()
                    continue
                }
                if let step = self.recordEnded(directive.qualifier.result, directive.text) {
                    return step
                }
            case .include, .a, .mx, .ptr, .exists: return self.look(at: directive.mechanism, frame)
            }
        }
    }

    /// A mechanism that asks the DNS.
    private mutating func look(at mechanism: SPFMechanism, _ frame: Frame) -> Step {
        guard self.countTerm() else { return self.tooManyTerms() }
        if let domain = mechanism.domain, domain.needsClientName, self.clientNames == nil {
            self.terms += 1
            guard self.terms <= Self.maximumTerms else { return self.tooManyTerms() }
            return self.askClientNames()
        }
        let target = mechanism.domain.map { self.values(frame.domain).name(of: $0) } ?? frame.domain
        guard let target else {
            if case .include = mechanism {
                return self.finish(.permerror, "include: no domain name")
            }
            return self.unmatched(isVoid: false)
        }
        switch mechanism {
        case .include:
            guard target.contains(.dot) else {
                return self.finish(.permerror, "include: no domain name")
            }
            return self.ask(target, .txt, .record(domain: target, .included))

        case .a(_, let lengths): return self.ask(target, self.addressKind, .addresses(lengths))
        case .mx(_, let lengths): return self.ask(target, .mx, .exchanges(lengths))
        case .exists: return self.ask(target, .a, .existence)
        case .ptr:
            guard let names = self.clientNames else { return self.askClientNames() }
            let isMatch = names.contains { SPFNames.isName($0, under: target) }
            return isMatch ? self.matched() : self.unmatched(isVoid: false)

        case .all, .network: return self.run()
        }
    }

    private mutating func redirect(to domain: SPFMacroString, _ frame: Frame) -> Step {
        guard self.countTerm() else { return self.tooManyTerms() }
        if domain.needsClientName, self.clientNames == nil {
            self.terms += 1
            guard self.terms <= Self.maximumTerms else { return self.tooManyTerms() }
            return self.askClientNames()
        }
        guard let target = self.values(frame.domain).name(of: domain), target.contains(.dot) else {
            return self.finish(.permerror, "redirect: no domain name")
        }
        return self.ask(target, .txt, .record(domain: target, .redirected))
    }

    /// The current directive matches.
    private mutating func matched() -> Step {
        guard let directive = self.frames.last?.directive else { return self.run() }
        return self.recordEnded(directive.qualifier.result, directive.text) ?? self.run()
    }

    private mutating func unmatched(isVoid: Bool) -> Step {
        if isVoid, !self.countVoid() { return self.tooManyVoids() }
        self.next()
        return self.run()
    }

    private mutating func next() {
        if !self.frames.isEmpty { self.frames[self.frames.count - 1].index += 1 }
        self.beginTerm()
    }

    /// The last record has a result.
    ///
    /// - Returns: `nil` if it was included and the evaluation goes on behind it.
    private mutating func recordEnded(_ result: SPFResult, _ mechanism: String?) -> Step? {
        var result = result
        var mechanism = mechanism
        while self.frames.count > 1 {
            self.frames.removeLast()
            guard result == .pass, let directive = self.frames.last?.directive else {
                self.next()
                return nil
            }
            result = directive.qualifier.result
            mechanism = directive.text
        }
        self.verdict = (result, mechanism)
        return self.explain()
    }

    // MARK: The end

    private mutating func explain() -> Step {
        guard let verdict = self.verdict else { return self.run() }
        guard verdict.result == .fail, let frame = self.frames.last,
            let domain = frame.record.explanation
        else { return self.finish(verdict.result, mechanism: verdict.mechanism) }
        let isWaiting = self.explanationText == nil && !self.wasExplanationAsked
        if let text = self.explanationText ?? (isWaiting ? domain : nil),
            text.needsClientName, self.clientNames == nil
        {
            return self.askClientNames()
        }
        if let text = self.explanationText {
            let words = self.values(frame.domain).words(of: text)
            return self.finish(.fail, mechanism: verdict.mechanism, explanation: words)
        }
        guard isWaiting, let target = self.values(frame.domain).name(of: domain) else {
            return self.finish(.fail, mechanism: verdict.mechanism)
        }
        self.wasExplanationAsked = true
        return self.ask(target, .txt, .explanation)
    }

    private var wasExplanationAsked = false

    private func tooManyTerms() -> Step {
        self.finish(.permerror, "more than \(Self.maximumTerms) terms ask the DNS")
    }

    private func tooManyVoids() -> Step {
        self.finish(.permerror, "more than \(Self.maximumVoidTerms) terms name what does not exist")
    }

    private func finish(_ result: SPFResult, _ problem: String) -> Step {
        self.finish(result, problem: problem)
    }

    private func finish(
        _ result: SPFResult,
        mechanism: String? = nil,
        problem: String? = nil,
        explanation: String? = nil
    ) -> Step {
        .done(
            self.found(result, mechanism: mechanism, problem: problem, explanation: explanation)
        )
    }

    private func found(
        _ result: SPFResult,
        mechanism: String? = nil,
        problem: String? = nil,
        explanation: String? = nil
    ) -> SPFFinding {
        SPFFinding(
            result: result,
            domain: Self.text(self.identity.domain),
            mechanism: mechanism,
            problem: problem,
            explanation: explanation
        )
    }

    // MARK: Parts

    private var addressKind: SPFQuestion.Kind { self.identity.client.isIPv6 ? .aaaa : .a }

    private mutating func ask(
        _ name: [UInt8],
        _ kind: SPFQuestion.Kind,
        _ expectation: Expectation
    ) -> Step {
        self.ask([name], kind, expectation)
    }

    private mutating func ask(
        _ names: [[UInt8]],
        _ kind: SPFQuestion.Kind,
        _ expectation: Expectation
    ) -> Step {
        self.expectation = expectation
        self.questionCount = names.count
        return .ask(names.map { SPFQuestion(name: $0, kind: kind) })
    }

    private mutating func askClientNames() -> Step {
        self.ask(SPFNames.reversed(self.identity.client), .ptr, .clientNames)
    }

    private mutating func beginTerm() {
        self.isTermCounted = false
        self.isTermVoid = false
    }

    /// - Returns: False if there are too many.
    private mutating func countTerm() -> Bool {
        if !self.isTermCounted { self.terms += 1 }
        self.isTermCounted = true
        return self.terms <= Self.maximumTerms
    }

    /// - Returns: False if there are too many.
    private mutating func countVoid() -> Bool {
        if !self.isTermVoid { self.voidTerms += 1 }
        self.isTermVoid = true
        return self.voidTerms <= Self.maximumVoidTerms
    }

    /// What macros in a record of `domain` are replaced by.
    private func values(_ domain: [UInt8]) -> SPFMacroValues {
        let names = self.clientNames ?? []
        // RFC 7208 §7.3: the domain itself, then a name below it, then any.
        let name =
            names.first { $0 == domain } ?? names.first { SPFNames.isName($0, under: domain) }
            ?? names.first
        return SPFMacroValues(identity: self.identity, domain: domain, clientName: name)
    }

    private static func text(_ name: [UInt8]) -> String {
        let printable = name.prefix(SPFNames.maximumOctets).map {
            (0x21...0x7E).contains($0) ? $0 : UInt8(ascii: "?")
        }
        return String(decoding: printable, as: UTF8.self)
    }
}
