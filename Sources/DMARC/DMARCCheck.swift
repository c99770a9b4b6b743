package import DomainNames
package import PublicSuffixes

/// A domain that SPF or DKIM vouches for, or might have.
package struct DMARCIdentifier: Sendable, Hashable {
    /// What the domain was checked by.
    package enum Method: Sendable, Hashable {
        case spf, dkim
    }

    package let method: Method
    package let domain: DNSName
    /// Whether nothing is known for lack of an answer: the check ended with `temperror`.
    package let isPending: Bool

    package init(_ method: Method, _ domain: DNSName, isPending: Bool = false) {
        self.method = method
        self.domain = domain
        self.isPending = isPending
    }
}

/// What the check of a message found.
package struct DMARCFinding: Sendable, Equatable {
    /// RFC 9989's results.
    package enum Result: String, Sendable {
        case pass, fail, none, temperror, permerror
    }

    package var result: Result
    /// What the record asks for if the check fails, by `t` as well; `nil` without a record.
    package var policy: DMARCPolicy?
    /// The domain that has the record; `nil` without one.
    package var policyDomain: DNSName?
    /// The record; `nil` without one.
    package var record: DMARCRecord?
    /// Whether an identifier of SPF is aligned.
    package var isSPFAligned = false
    /// Whether an identifier of DKIM is aligned.
    package var isDKIMAligned = false

    /// A finding; without more, one for which there is no record.
    package init(
        result: Result,
        policy: DMARCPolicy? = nil,
        policyDomain: DNSName? = nil,
        record: DMARCRecord? = nil
    ) {
        self.result = result
        self.policy = policy
        self.policyDomain = policyDomain
        self.record = record
    }
}

/// Finds the record of a From domain, and whether identifiers are aligned with it (RFC 9989 §4.10), without asking
/// the DNS itself: ``next`` says what is to be asked, and ``answer(_:_:)`` is told what the answer is.
///
/// It asks one question after the other, ``maximumQuestions`` at most.
package struct DMARCCheck: Sendable {
    /// What is to be asked.
    package enum Question: Sendable, Hashable {
        /// The TXT records of this name.
        case record(DNSName)
        /// Whether this name exists: records of any type.
        case existence(DNSName)
    }

    /// What the DNS says.
    package enum Answer: Sendable, Equatable {
        /// TXT records, strings joined; none if the name has no TXT record, or does not exist.
        case records([[UInt8]])
        /// Whether the name exists.
        case exists(Bool)
        /// There is no answer.
        case failed
    }

    /// What is to be done.
    package enum Step: Sendable, Equatable {
        case ask(Question)
        case finished(DMARCFinding)
    }

    /// The most questions of one check; with more it ends as ``DMARCFinding/Result/temperror``.
    package static let maximumQuestions = 64
    /// The most identifiers that are looked at.
    package static let maximumIdentifiers = 32
    /// The most labels whose names are each asked for (RFC 9989 §4.10).
    private static let maximumLabels = 8

    private let author: DNSName
    private let identifiers: [DMARCIdentifier]
    private let suffixes: PublicSuffixList?
    private var records: [DNSName: Found] = [:]
    private var existing: [DNSName: Bool?] = [:]

    /// What a name has.
    private enum Found: Sendable {
        case record(DMARCRecord)
        case nothing
        case failure
    }

    /// Something that is not known yet, or will not be.
    private enum Stop: Error {
        case question(Question)
        case failure
    }

    /// A check of a message from `author`.
    ///
    /// - Parameters:
    ///   - author: The domain of the From field.
    ///   - identifiers: What SPF and DKIM vouch for; of more than ``maximumIdentifiers`` the first.
    ///   - suffixes: A list of public suffixes instead of the tree walk, as in RFC 7489 §3.2.
    package init(
        author: DNSName,
        identifiers: [DMARCIdentifier],
        suffixes: PublicSuffixList? = nil
    ) {
        self.author = author
        self.identifiers = Array(identifiers.prefix(Self.maximumIdentifiers))
        self.suffixes = suffixes
    }

    /// What is to be done next.
    package var next: Step {
        do {
            return .finished(try self.finding())
        } catch .question(let question) {
            guard self.records.count + self.existing.count < Self.maximumQuestions else {
                return .finished(DMARCFinding(result: .temperror))
            }
            return .ask(question)
        } catch {
            return .finished(DMARCFinding(result: .temperror))
        }
    }

    /// Takes the answer to a question of ``next``.
    package mutating func answer(_ question: Question, _ answer: Answer) {
        switch (question, answer) {
        case (.record(let name), .records(let texts)):
            let records = texts.compactMap { DMARCRecord($0) }
            // Several records at one name are none.
            if let record = records.first, records.count == 1 {
                self.records[name] = .record(record)
            } else {
                self.records[name] = .nothing
            }

        case (.record(let name), _): self.records[name] = .failure
        case (.existence(let name), .exists(let exists)):
            self.existing.updateValue(exists, forKey: name)

        case (.existence(let name), _): self.existing.updateValue(nil, forKey: name)
        }
    }

    // MARK: The finding

    private func finding() throws(Stop) -> DMARCFinding {
        guard let (domain, record) = try self.policyRecord() else {
            return DMARCFinding(result: .none)
        }
        guard !record.isUnusable else { return DMARCFinding(result: .permerror) }
        let policy = try self.policy(of: record, at: domain)
        var finding = DMARCFinding(
            result: .fail,
            policy: record.isTest ? policy.milder : policy,
            policyDomain: domain,
            record: record
        )
        var isOpen = false
        for identifier in self.identifiers {
            let mode = identifier.method == .spf ? record.spfAlignment : record.dkimAlignment
            do throws(Stop) {
                guard try self.isAligned(identifier.domain, mode) else { continue }
                switch identifier.method {
                case _ where identifier.isPending: isOpen = true
                case .spf: finding.isSPFAligned = true
                case .dkim: finding.isDKIMAligned = true
                }
            } catch .question(let question) {
                throw .question(question)
            } catch {
                isOpen = true
            }
        }
        if finding.isSPFAligned || finding.isDKIMAligned {
            finding.result = .pass
        } else if isOpen {
            finding.result = .temperror
        }
        return finding
    }

    /// The record that counts, and where it is: of the author's domain, else of its organisation, else of the public
    /// suffix (RFC 9989 §4.10.1).
    private func policyRecord() throws(Stop) -> (DNSName, DMARCRecord)? {
        if let record = try self.record(at: self.author) { return (self.author, record) }
        let organisation = try self.organisation(of: self.author)
        if let record = try self.record(at: organisation) { return (organisation, record) }
        guard self.suffixes == nil,
            let (suffix, record) = try self.walk(self.author).last,
            record.publicSuffix == .yes
        else { return nil }
        return (suffix, record)
    }

    /// What the record says about the author's domain.
    private func policy(of record: DMARCRecord, at domain: DNSName) throws(Stop) -> DMARCPolicy {
        guard domain != self.author else { return record.policy }
        let policy = record.subdomainPolicy ?? record.policy
        guard let missing = record.missingDomainPolicy, missing != policy else { return policy }
        guard let exists = self.existing[self.author] else {
            throw .question(.existence(self.author))
        }
        guard let exists else { throw .failure }
        return exists ? policy : missing
    }

    private func isAligned(_ domain: DNSName, _ mode: DMARCAlignment) throws(Stop) -> Bool {
        if domain == self.author { return true }
        guard mode == .relaxed else { return false }
        let organisation = try self.organisation(of: self.author)
        // A domain of another tree cannot be of this organisation: nothing is asked about it.
        guard domain.isWithin(organisation) else { return false }
        return try self.organisation(of: domain) == organisation
    }

    // MARK: The tree

    /// The organisational domain (RFC 9989 §4.10.2), or by the list the registered one.
    private func organisation(of domain: DNSName) throws(Stop) -> DNSName {
        if let suffixes = self.suffixes { return suffixes.registeredDomain(of: domain) ?? domain }
        let found = try self.walk(domain)
        guard let (last, record) = found.last else { return domain }
        guard record.publicSuffix == .yes, last != domain else { return last }
        let below = last.labelCount + 1
        return domain.selfAndParents.first { $0.labelCount == below } ?? domain
    }

    /// The names with records from the domain upwards, as far as the first one that says whether it is a public suffix.
    private func walk(_ domain: DNSName) throws(Stop) -> [(DNSName, DMARCRecord)] {
        var found: [(DNSName, DMARCRecord)] = []
        for name in Self.targets(of: domain) {
            guard let record = try self.record(at: name) else { continue }
            found.append((name, record))
            if record.publicSuffix != .unknown { break }
        }
        return found
    }

    /// The names that a walk from `domain` looks at: eight at most.
    package static func targets(of domain: DNSName) -> [DNSName] {
        domain.selfAndParents.filter { $0 == domain || $0.labelCount < self.maximumLabels }
    }

    private func record(at domain: DNSName) throws(Stop) -> DMARCRecord? {
        // One that is too long for the DNS is not there.
        guard let name = DNSName("_dmarc.\(domain.text)") else { return nil }
        switch self.records[name] {
        case .record(let record): return record
        case .nothing: return nil
        case .failure: throw .failure
        case nil: throw .question(.record(name))
        }
    }
}
