/// What every session of a listener shares: limits, options and the replies that name the host.
///
/// Immutable and encoded once; a session keeps one reference.
package final class SMTPConfiguration: Sendable {
    /// `me`: the first word of the greeting and of the answers to HELO and EHLO.
    package let hostname: [UInt8]
    package let limits: SMTPLimits
    package let bareNewline: BareNewlineRule
    /// A NUL may stand in the content of a message.
    package let allowsNUL: Bool
    package let pathOptions: PathGrammar.Options
    package let commandOptions: SMTPCommandOptions
    package let requirements: SMTPRequirements
    /// What the listener trusts some networks with; ``SMTPSession/trust`` is what a client may.
    let trust: SMTPTrust
    /// The listener speaks LMTP (RFC 2033), else SMTP.
    package let isLMTP: Bool
    /// The mechanisms of AUTH, in the order in which they are offered; empty: there is no AUTH.
    package let mechanisms: [SMTPMechanism]
    /// AUTH is offered without TLS.
    private let offersAuthInClear: Bool
    /// Octets of the longest command line that is taken in any state, CRLF included.
    let longestLineOctets: Int
    /// 220, sent when the connect hook granted.
    package let greeting: SMTPReply
    /// 250 to HELO.
    package let heloReply: SMTPReply
    /// What EHLO offers, by ``SMTPSecurity/index``.
    private let offers: [Offer]

    private struct Offer {
        let extensions: SMTPExtensions
        let mechanisms: [SMTPMechanism]
        /// 250 to EHLO, with the extensions.
        let reply: SMTPReply
    }

    /// Encodes what names the host.
    ///
    /// `hostname` is `me`, as it stands in the greeting; `greetingText` is the control file
    /// `smtpgreeting`, or `nil`. `extensions` says what EHLO offers to a session in a state; it is asked
    /// once for each state. `mechanisms` are offered under TLS, or always if `offersAuthInClear`.
    package init(
        hostname: [UInt8],
        greetingText: [UInt8]? = nil,
        limits: SMTPLimits = SMTPLimits(),
        extensions: (SMTPSecurity) -> SMTPExtensions = { _ in .standard },
        bareNewline: BareNewlineRule = .reject,
        allowsNUL: Bool = false,
        pathOptions: PathGrammar.Options = [],
        commandOptions: SMTPCommandOptions = [],
        requirements: SMTPRequirements = [],
        trust: SMTPTrust = [],
        isLMTP: Bool = false,
        mechanisms: [SMTPMechanism] = [],
        offersAuthInClear: Bool = false
    ) {
        self.hostname = hostname
        self.limits = limits
        self.bareNewline = bareNewline
        self.allowsNUL = allowsNUL
        self.pathOptions = pathOptions
        self.commandOptions = commandOptions
        self.requirements = requirements
        self.trust = trust
        self.isLMTP = isLMTP
        self.mechanisms = mechanisms
        self.offersAuthInClear = offersAuthInClear
        self.greeting = .greeting(
            hostname: hostname,
            text: greetingText.map { [$0] } ?? [],
            isLMTP: isLMTP
        )
        self.heloReply = .helo(hostname: hostname)
        var offers: [Offer] = []
        for security in SMTPSecurity.all {
            let extensions = extensions(security)
            let offered = mechanisms.filter {
                $0.isOffered(in: security, inClear: offersAuthInClear)
            }
            if let same = offers.first(where: {
                $0.extensions == extensions && $0.mechanisms == offered
            }) {
                offers.append(same)
                continue
            }
            let reply = self.heloReply.offering(
                extensions,
                mechanisms: offered,
                limits: limits
            )
            offers.append(Offer(extensions: extensions, mechanisms: offered, reply: reply))
        }
        self.offers = offers
        self.longestLineOctets = offers.reduce(SMTPLimits.commandLineOctets) { longest, offer in
            let lines = [SMTPVerb.mail, .rcpt].map {
                SMTPLimits.lineOctets(
                    of: $0,
                    offered: offer.extensions,
                    takesAuth: !mechanisms.isEmpty
                )
            }
            return lines.reduce(longest, max)
        }
    }

    /// The reply to what may not come before the client has greeted.
    var helloFirst: SMTPReply {
        self.isLMTP ? StandardReplies.lhloFirst : StandardReplies.helloFirst
    }

    /// The reply to a message of which policy refused every recipient (RFC 2033 §4.2 wants 503).
    var noValidRecipients: SMTPReply {
        self.isLMTP
            ? StandardReplies.noValidRecipientsOfLMTP : StandardReplies.noValidRecipients
    }

    /// Octets of a line with this command that a session in this state takes, CRLF included.
    func lineOctets(of verb: SMTPVerb?, in security: SMTPSecurity) -> Int {
        SMTPLimits.lineOctets(
            of: verb,
            offered: self.extensions(in: security),
            takesAuth: !self.mechanisms.isEmpty
        )
    }

    /// What EHLO offers to a session in this state, and MAIL's parameters are held against.
    func extensions(in security: SMTPSecurity) -> SMTPExtensions {
        self.offers[security.index].extensions
    }

    /// Whether EHLO offers AUTH to a session in this state.
    func offersAuth(in security: SMTPSecurity) -> Bool {
        !self.offers[security.index].mechanisms.isEmpty
    }

    /// Whether EHLO offers this mechanism to a session in this state.
    func offers(_ mechanism: SMTPMechanism, in security: SMTPSecurity) -> Bool {
        self.offers[security.index].mechanisms.contains(mechanism)
    }

    /// What becomes of the parameter AUTH of MAIL in this state.
    func authParameter(in security: SMTPSecurity) -> AuthParameter {
        if self.commandOptions.contains(.authParameter) { return .anyText }
        return self.offersAuth(in: security) ? .xtext : .unknown
    }

    /// 250 to EHLO from a session in this state.
    ///
    /// `worded` is an answer to HELO that policy worded: its first line takes the place of ours.
    /// `trust` is what this client is trusted with; `futureRelease` what it is told of FUTURERELEASE, if
    /// that is among the extensions of the listener.
    func ehloReply(
        in security: SMTPSecurity,
        worded: SMTPReply? = nil,
        trust: SMTPTrust = [],
        futureRelease: FutureReleaseOffer? = nil
    ) -> SMTPReply {
        let offer = self.offers[security.index]
        guard worded != nil || !trust.isEmpty || futureRelease != nil else { return offer.reply }
        return (worded ?? self.heloReply).offering(
            offer.extensions,
            mechanisms: offer.mechanisms,
            limits: self.limits,
            trust: trust,
            futureRelease: futureRelease
        )
    }

    /// Whether FUTURERELEASE is among the extensions of the listener, in whatever state.
    package var mayOfferFutureRelease: Bool {
        self.offers.contains { $0.extensions.contains(.futureRelease) }
    }
}

/// What a client must have done before it may send mail.
package struct SMTPRequirements: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// The connection is encrypted.
    ///
    /// RFC 3207 §4.
    package static let encryption = Self(rawValue: 1 << 0)
    /// The client has authenticated.
    ///
    /// RFC 4954 §6.
    package static let authentication = Self(rawValue: 1 << 1)
}

/// What a listener tolerates of commands, beside `PathGrammar.Options`.
package struct SMTPCommandOptions: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// AUTH= in MAIL, though AUTH is not offered.
    ///
    /// RFC 4954 §5.
    package static let authParameter = Self(rawValue: 1 << 0)
    /// `EHLO my-host (2)`: the name is the first word.
    package static let wordsAfterHello = Self(rawValue: 1 << 1)
    /// A command line that ends in LF alone.
    ///
    /// Never the content of a message.
    package static let bareLineFeed = Self(rawValue: 1 << 2)
    /// A first command of HTTP, or the beginning of a TLS handshake, is answered as any unrecognised
    /// command.
    package static let otherProtocols = Self(rawValue: 1 << 3)
    /// Content that comes before the 354 to DATA.
    ///
    /// RFC 2920 §3.1.
    package static let earlyContent = Self(rawValue: 1 << 4)
    /// Commands behind a message that was refused for a bare CR or LF.
    package static let commandsAfterBareNewline = Self(rawValue: 1 << 5)
}
