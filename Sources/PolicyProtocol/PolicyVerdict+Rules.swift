import JSON

/// What a verdict may say at which hook: the tables of protocol/verdicts.md.
extension PolicyVerdict {
    /// Checks everything that can be checked without the session's state.
    ///
    /// - Parameters:
    ///   - hook: What was asked.
    ///   - hasTransaction: Whether there is one to take notes and actions.
    ///   - allowsUTF8: Whether the client asked for SMTPUTF8.
    /// - Returns: The first rule broken; `nil` if none is.
    package func violation(
        for hook: Hook,
        hasTransaction: Bool,
        allowsUTF8: Bool
    ) -> ProtocolViolation? {
        guard VerdictRules.allowed(at: hook).contains(self.verdict) else {
            return ProtocolViolation(
                .verdict_not_allowed,
                "verdict: \(self.verdict.rawValue) at \(hook.rawValue)"
            )
        }
        if let violation = VerdictRules.violation(
            ofReply: self.reply,
            verdict: self.verdict,
            hook: hook,
            allowsUTF8: allowsUTF8
        ) {
            return violation
        }
        if self.transactionNotes != nil, !hasTransaction {
            return ProtocolViolation(
                .notes_no_transaction,
                "notes.transaction: there is no transaction"
            )
        }
        if self.sessionNotes?.isLarger(than: Self.maximumNotesOctets) ?? false {
            return Self.largeNotes("session")
        }
        if self.transactionNotes?.isLarger(than: Self.maximumNotesOctets) ?? false {
            return Self.largeNotes("transaction")
        }
        for (index, action) in self.actions.enumerated() {
            let violation = ActionRules.violation(
                of: action,
                at: hook,
                index: index,
                allowsUTF8: allowsUTF8
            )
            if let violation { return violation.inAction(index) }
        }
        return hook == .auth ? self.violationOfChallenge : nil
    }

    private static func largeNotes(_ scope: StaticString) -> ProtocolViolation {
        ProtocolViolation(
            .notes_too_large,
            "notes.\(scope): a patch of more than \(self.maximumNotesOctets) octets"
        )
    }

    /// `done` at `auth` is a challenge and nothing else; the session knows whether its mechanism has one.
    private var violationOfChallenge: ProtocolViolation? {
        let count = self.actions.count { if case .challenge = $0 { true } else { false } }
        guard self.verdict == .done else {
            return count == 0
                ? nil
                : ProtocolViolation(
                    .challenge_not_allowed,
                    "actions: auth.challenge with \(self.verdict.rawValue)"
                )
        }
        return switch count {
        case 0: ProtocolViolation(.challenge_missing, "actions: no auth.challenge")
        case 1: nil
        default: ProtocolViolation(.challenge_not_allowed, "actions: more than one auth.challenge")
        }
    }
}

/// Some of the seven verdicts.
struct VerdictSet: ExpressibleByArrayLiteral {
    private var bits: UInt8 = 0

    init(_ verdicts: [Verdict]) {
        for verdict in verdicts { self.bits |= Self.bit(verdict) }
    }

    init(arrayLiteral elements: Verdict...) { self.init(elements) }

    func contains(_ verdict: Verdict) -> Bool { self.bits & Self.bit(verdict) != 0 }

    private static func bit(_ verdict: Verdict) -> UInt8 {
        switch verdict {
        case .declined: 1
        case .ok: 2
        case .deny: 4
        case .denysoft: 8
        case .deny_disconnect: 16
        case .denysoft_disconnect: 32
        case .done: 64
        }
    }
}

enum VerdictRules {
    static func allowed(at hook: Hook) -> VerdictSet {
        switch hook {
        case .connect, .helo, .ehlo, .mail, .rcpt, .data, .queue: self.deciding
        case .auth, .data_post, .vrfy, .unrecognized_command: self.everything
        case .data_headers_end: self.closing
        case .received_line, .data_post_headers: self.passing
        case .queue_pre, .quit: self.passingOrDone
        case .noop: self.atNoop
        case .help: self.atHelp
        case .queue_post, .reset_transaction, .disconnect, .ok, .deny, .status: self.nothing
        }
    }

    private static let closing: VerdictSet = [
        .declined, .ok, .deny_disconnect, .denysoft_disconnect,
    ]
    private static let passing: VerdictSet = [.declined, .ok]
    private static let passingOrDone: VerdictSet = [.declined, .ok, .done]
    private static let atNoop: VerdictSet = [.declined, .ok, .done, .deny, .deny_disconnect]
    private static let atHelp: VerdictSet = [.declined, .ok, .done, .deny]
    private static let nothing = VerdictSet([])

    private static let everything = VerdictSet(Verdict.allCases)
    private static let deciding = VerdictSet(Verdict.allCases.filter { $0 != .done })

    static func violation(
        ofReply reply: PolicyReply?,
        verdict: Verdict,
        hook: Hook,
        allowsUTF8: Bool
    ) -> ProtocolViolation? {
        let isLine = hook == .received_line && verdict == .ok
        let isChallenge = hook == .auth && verdict == .done
        guard let reply else {
            return verdict == .done && !isChallenge || isLine
                ? ProtocolViolation(.reply_missing, "reply: none") : nil
        }
        guard !isChallenge else {
            return ProtocolViolation(.reply_not_allowed, "reply: its challenge is the reply")
        }
        let isText = reply.lineCount != nil
        if verdict == .done && (reply.code == nil || !isText) || isLine && !isText {
            return ProtocolViolation(
                .reply_missing,
                verdict == .done && reply.code == nil ? "reply.code: none" : "reply.text: none"
            )
        }
        if verdict == .declined || verdict == .ok && self.hooksWhoseOKIsSilent.contains(hook)
            || hook == .received_line && (reply.code != nil || reply.status != nil)
        {
            return ProtocolViolation(
                .reply_not_allowed,
                "reply: the client gets none with \(verdict.rawValue) at \(hook.rawValue)"
            )
        }
        if let code = reply.code, !self.allows(code, verdict: verdict, hook: hook) {
            return ProtocolViolation(
                .reply_code,
                "reply.code: \(code) with \(verdict.rawValue) at \(hook.rawValue)"
            )
        }
        if let status = reply.status, !self.isStatus(status, reply.code, verdict, hook) {
            return ProtocolViolation(
                .reply_status,
                "reply.status: \(String(status.prefix(32)).debugDescription)"
            )
        }
        return self.violation(ofText: reply, isLine: isLine, allowsUTF8: allowsUTF8)
    }

    private static func violation(
        ofText reply: PolicyReply,
        isLine: Bool,
        allowsUTF8: Bool
    ) -> ProtocolViolation? {
        guard let count = reply.lineCount else { return nil }
        guard (1...PolicyVerdict.maximumReplyLines).contains(count), !isLine || !reply.text.isEmpty
        else {
            return ProtocolViolation(.reply_text, "reply.text: \(count) lines")
        }
        for (index, line) in reply.text.enumerated() {
            guard let fault = self.fault(of: line, allowsUTF8: allowsUTF8) else { continue }
            return ProtocolViolation(.reply_text, "reply.text[\(index)]: \(fault)")
        }
        return nil
    }

    private static let hooksWhoseOKIsSilent: Set<Hook> = [
        .data_headers_end, .data_post_headers, .data_post, .queue_pre,
    ]

    private static func allows(_ code: Int, verdict: Verdict, hook: Hook) -> Bool {
        guard (200..<600).contains(code), code / 10 % 10 <= 5 else { return false }
        let isClosingCode = code == 421 || code == 521
        switch verdict {
        case .declined: return false
        case .ok: return self.okCodes(at: hook).contains(code)
        case .deny:
            return code / 100 == 5 && (!isClosingCode || hook == .connect)
        case .denysoft:
            return code / 100 == 4 && (!isClosingCode || hook == .connect)
        case .deny_disconnect: return code / 100 == 5
        case .denysoft_disconnect: return code / 100 == 4
        case .done:
            if hook == .quit { return code == 221 }
            return code / 100 != 3 && !isClosingCode && code != 221
        }
    }

    private static func okCodes(at hook: Hook) -> Set<Int> {
        switch hook {
        case .connect: [220]
        case .helo, .ehlo, .mail, .queue, .noop: [250]
        case .rcpt: [250, 251]
        case .auth: [235]
        case .data: [354]
        case .vrfy: [250, 251, 252]
        case .help: [211, 214]
        case .quit: [221]
        case .unrecognized_command: [500]
        default: []
        }
    }

    /// `class.subject.detail`, whose class is that of the code, or of the verdict without one.
    private static func isStatus(
        _ status: String,
        _ code: Int?,
        _ verdict: Verdict,
        _ hook: Hook
    ) -> Bool {
        let parts = status.utf8.split(
            separator: UInt8(ascii: "."),
            omittingEmptySubsequences: false
        )
        guard parts.count == 3, parts[0].count == 1 else { return false }
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy({ (0x30...0x39).contains($0) }),
                part.count == 1 || part.first != 0x30
            else { return false }
        }
        let statusClass = parts[0].first.map { Int($0) - 0x30 }
        let expected: Int =
            if let code { code / 100 } else {
                switch verdict {
                case .declined, .ok, .done: hook == .unrecognized_command ? 5 : 2
                case .deny, .deny_disconnect: 5
                case .denysoft, .denysoft_disconnect: 4
                }
            }
        return statusClass == expected
    }

    /// What is wrong with a line of a reply; `nil` if nothing.
    private static func fault(of line: String, allowsUTF8: Bool) -> String? {
        guard line.utf8.count <= PolicyVerdict.maximumReplyLineOctets else {
            return "more than \(PolicyVerdict.maximumReplyLineOctets) octets"
        }
        for scalar in line.unicodeScalars {
            switch scalar.value {
            case ..<0x20, 0x7F...0x9F, 0x2028, 0x2029:
                return "the control character U+\(String(scalar.value, radix: 16, uppercase: true))"
            case 0x20...0x7E: break
            default:
                guard allowsUTF8 else { return "not ASCII, and the transaction has no SMTPUTF8" }
            }
        }
        return nil
    }
}

/// Where each action may be used, and what its text may hold (protocol/verdicts.md, "Actions").
enum ActionRules {
    static func violation(
        of action: PolicyAction,
        at hook: Hook,
        index: Int,
        allowsUTF8: Bool
    ) -> ProtocolViolation? {
        guard self.hooks(for: action).contains(hook) else {
            return ProtocolViolation(.action_not_allowed, "op: not allowed at \(hook.rawValue)")
        }
        switch action {
        case .addHeader(let name, let value, _):
            return self.violation(ofName: name) ?? self.violation(ofValue: value)
        case .setHeader(_, let value): return self.violation(ofValue: value)
        case .deleteHeaders(let name): return self.violation(ofName: name)
        case .setClientName(let name): return self.violation(ofClientName: name)
        case .replaceMessage(let path):
            guard index == 0 else {
                return ProtocolViolation(
                    .action_not_allowed,
                    "op: message.replace comes first, and once"
                )
            }
            guard !path.isEmpty, path != ".", path != "..", path.utf8.count <= 255,
                path.utf8.allSatisfy({ $0 != UInt8(ascii: "/") && $0 != 0 })
            else {
                return ProtocolViolation(
                    .path_invalid,
                    "path: \(String(path.prefix(64)).debugDescription) is not the name of a file"
                )
            }
            return nil
        case .refuseRecipient(_, let verdict, let reply):
            return VerdictRules.violation(
                ofReply: reply,
                verdict: verdict,
                hook: hook,
                allowsUTF8: allowsUTF8
            )
        case .deleteHeader, .addRecipient, .removeRecipient, .replaceRecipient, .replaceSender,
            .setRelay, .delayReply:
            return nil
        case .challenge(let challenge, let state):
            for (field, octets, most) in [
                ("challenge", challenge, PolicyVerdict.maximumChallengeOctets),
                ("state", state, PolicyVerdict.maximumStateOctets),
            ] where octets.count > most {
                return ProtocolViolation(
                    .challenge_too_large,
                    "\(field): \(octets.count) octets, over \(most)"
                )
            }
            return nil
        }
    }

    private static func hooks(for action: PolicyAction) -> Set<Hook> {
        switch action {
        case .addHeader, .setHeader, .deleteHeader, .deleteHeaders:
            [.data_headers_end, .data_post_headers, .data_post, .queue_pre]
        case .addRecipient, .removeRecipient, .replaceRecipient:
            [.rcpt, .data, .data_headers_end, .data_post_headers, .data_post, .queue_pre]
        case .replaceSender:
            [.mail, .rcpt, .data, .data_headers_end, .data_post_headers, .data_post, .queue_pre]
        case .refuseRecipient: [.data_post, .queue]
        case .replaceMessage: [.data_post_headers, .data_post]
        case .setRelay, .delayReply: [.connect, .helo, .ehlo, .auth, .mail, .rcpt]
        case .setClientName: [.connect]
        case .challenge: [.auth]
        }
    }

    /// RFC 5322 §3.6.8: printable ASCII without colon.
    private static func violation(ofName name: [UInt8]) -> ProtocolViolation? {
        let isName =
            !name.isEmpty && name.count <= 255
            && name.allSatisfy { (33...126).contains($0) && $0 != UInt8(ascii: ":") }
        return isName
            ? nil
            : ProtocolViolation(.header_name, "name: not 1 to 255 of 33 to 126 without a colon")
    }

    /// No NUL, CR and LF only as folding (CRLF and then white space), and no line after the first that
    /// is white space alone: a reader that strips it would see the end of the header section.
    private static func violation(ofValue value: [UInt8]) -> ProtocolViolation? {
        guard value.count <= 65_536 else {
            return ProtocolViolation(.header_value, "value: \(value.count) octets")
        }
        var isFolded = false
        var isBlank = true
        var index = 0
        while index < value.count {
            switch value[index] {
            case 0x0D:
                guard index + 2 < value.count, value[index + 1] == 0x0A,
                    value[index + 2] == 0x20 || value[index + 2] == 0x09
                else { return ProtocolViolation(.header_value, "value: a CR that does not fold") }
                guard !isFolded || !isBlank else { return self.blankLine }
                isFolded = true
                isBlank = true
                index += 3
            case 0x0A: return ProtocolViolation(.header_value, "value: a bare LF")
            case 0x00: return ProtocolViolation(.header_value, "value: a NUL")
            case 0x20, 0x09: index += 1
            default:
                isBlank = false
                index += 1
            }
        }
        return isFolded && isBlank ? self.blankLine : nil
    }

    private static let blankLine = ProtocolViolation(
        .header_value,
        "value: a line of white space alone"
    )

    private static func violation(ofClientName name: [UInt8]?) -> ProtocolViolation? {
        guard let name else { return nil }
        let isName = (1...255).contains(name.count) && name.allSatisfy { (33...126).contains($0) }
        return isName ? nil : ProtocolViolation(.value_invalid, "value: no host name")
    }
}
