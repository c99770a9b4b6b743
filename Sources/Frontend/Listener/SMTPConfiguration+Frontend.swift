import Configuration
import SMTPCore

extension SMTPConfiguration {
    /// The configuration of new sessions of `listener`, from `frontend.toml` and the control files.
    convenience init(
        _ configuration: FrontendConfiguration,
        listener: FrontendConfiguration.Listener,
        control: ControlSnapshot
    ) {
        var limits = SMTPLimits()
        let databytes = control.value(FrontendControls.databytes) ?? 0
        limits.maximumMessageOctets =
            databytes > 0 ? databytes : configuration.limits.maximumMessageOctets
        limits.maximumHeaderOctets = configuration.limits.maximumHeaderOctets
        limits.maximumHeaderFields = configuration.limits.maximumHeaderFields
        limits.maximumTextLineOctets = configuration.limits.maximumLineOctets
        limits.maximumReceived = configuration.limits.maximumReceived
        limits.maximumRecipients = configuration.limits.maximumRecipients
        limits.maximumErrors = configuration.limits.maximumErrors
        limits.maximumErrorsBeforeHello = min(
            configuration.limits.maximumErrors,
            limits.maximumErrorsBeforeHello
        )
        limits.maximumUnrecognized = configuration.limits.maximumUnrecognized
        limits.maximumTransactions = configuration.limits.maximumTransactions
        limits.maximumNoops = configuration.limits.maximumNoops
        limits.maximumCommandsWithoutMessage = configuration.limits.maximumCommandsWithoutMessage
        limits.maximumRefusedRecipients = configuration.limits.maximumRefusedRecipients
        limits.maximumCommands = configuration.limits.maximumCommands
        limits.maximumFailedLogins = configuration.limits.failedLogins.maximum
        let extensions = SMTPExtensions(listener.extensions)
        self.init(
            hostname: Array(configuration.hostname.utf8),
            greetingText: control.first("smtpgreeting").map { Array($0.utf8) },
            limits: limits,
            extensions: { security in
                // RFC 8689 §2: REQUIRETLS is offered under TLS alone.
                guard !security.isEncrypted else { return extensions }
                let offered = extensions.subtracting(.requireTLS)
                return listener.tls == .starttls ? offered.union(.startTLS) : offered
            },
            bareNewline: configuration.bareNewline == .reject ? .reject : .normalize,
            allowsNUL: configuration.allowNUL,
            pathOptions: PathGrammar.Options(listener),
            commandOptions: SMTPCommandOptions(listener),
            requirements: SMTPRequirements(listener),
            trust: SMTPTrust(listener),
            isLMTP: listener.mailProtocol == .lmtp,
            mechanisms: listener.auth.map(SMTPMechanism.init),
            offersAuthInClear: listener.authWithoutTLS
        )
    }
}

extension SMTPRequirements {
    init(_ listener: FrontendConfiguration.Listener) {
        self = []
        if listener.requireTLS { self.insert(.encryption) }
        if listener.requireAuth { self.insert(.authentication) }
    }
}

extension SMTPTrust {
    init(_ listener: FrontendConfiguration.Listener) {
        self = []
        if !listener.xclientNetworks.isEmpty { self.insert(.xclient) }
        if !listener.xforwardNetworks.isEmpty { self.insert(.xforward) }
    }
}

extension SMTPMechanism {
    init(_ mechanism: FrontendConfiguration.AuthMechanism) {
        switch mechanism {
        case .plain: self = .plain
        case .login: self = .login
        case .cramMD5: self = .cramMD5
        case .scramSHA256: self = .scramSHA256
        case .scramSHA256Plus: self = .scramSHA256Plus
        case .oauthBearer: self = .oauthBearer
        case .xoauth2: self = .xoauth2
        }
    }
}

extension PathGrammar.Options {
    init(_ listener: FrontendConfiguration.Listener) {
        self = []
        if listener.allowMissingBrackets { self.insert(.missingBrackets) }
        if listener.allowSpaceAfterColon { self.insert(.spaceAfterColon) }
        if listener.allowUnderscoreInDomain { self.insert(.underscoreInDomain) }
        if listener.allowTrailingDot { self.insert(.trailingDot) }
        if listener.allowDotsInLocalPart { self.insert(.dotsInLocalPart) }
    }
}

extension SMTPCommandOptions {
    init(_ listener: FrontendConfiguration.Listener) {
        self = []
        if listener.allowAuthParameter { self.insert(.authParameter) }
        if listener.allowWordsAfterHello { self.insert(.wordsAfterHello) }
        if listener.allowLFCommands { self.insert(.bareLineFeed) }
        if listener.allowOtherProtocols { self.insert(.otherProtocols) }
        if listener.allowEarlyContent { self.insert(.earlyContent) }
        if listener.allowCommandsAfterBareNewline { self.insert(.commandsAfterBareNewline) }
    }
}

extension SMTPExtensions {
    init(_ words: Set<FrontendConfiguration.SMTPExtension>) {
        self = []
        for word in words {
            switch word {
            case .pipelining: self.insert(.pipelining)
            case .size: self.insert(.size)
            case .eightBitMIME: self.insert(.eightBitMIME)
            case .smtpUTF8: self.insert(.smtpUTF8)
            case .enhancedStatusCodes: self.insert(.enhancedStatusCodes)
            case .chunking: self.insert(.chunking)
            case .binaryMIME: self.insert(.binaryMIME)
            case .dsn: self.insert(.dsn)
            case .limits: self.insert(.limits)
            case .requireTLS: self.insert(.requireTLS)
            case .prdr: self.insert(.prdr)
            case .priority: self.insert(.priority)
            case .futureRelease: self.insert(.futureRelease)
            }
        }
    }
}
