import Testing

@testable import SMTPCore

struct StandardRepliesTests {
    static let all: [SMTPReply] = [
        StandardReplies.spoolFull, StandardReplies.spoolFailed,
        StandardReplies.memoryUsedUp, StandardReplies.memoryUsedUpClosing,
        StandardReplies.ok, StandardReplies.senderAccepted, StandardReplies.recipientAccepted,
        StandardReplies.startMailInput, StandardReplies.messageAccepted, StandardReplies.help,
        StandardReplies.cannotVerify, StandardReplies.closing, StandardReplies.commandLineTooLong,
        StandardReplies.bareLineFeedInCommand, StandardReplies.bareCarriageReturnInCommand,
        StandardReplies.responseTooLong,
        StandardReplies.otherProtocol, StandardReplies.contentBeforeReply,
        StandardReplies.nulInCommand, StandardReplies.unrecognizedCommand,
        StandardReplies.expnNotImplemented, StandardReplies.startTLSNotOffered,
        StandardReplies.readyToStartTLS,
        StandardReplies.alreadyEncrypted, StandardReplies.octetsBehindStartTLS,
        StandardReplies.encryptionRequired,
        StandardReplies.authenticationRequired, StandardReplies.authNotOffered,
        StandardReplies.bdatNotOffered, StandardReplies.chunkAccepted, StandardReplies.chunkSyntax,
        StandardReplies.dataBehindChunk, StandardReplies.recipientBehindChunk,
        StandardReplies.binaryNeedsChunks, StandardReplies.nulInMessage, StandardReplies.helloFirst,
        StandardReplies.nestedMail, StandardReplies.mailFirst, StandardReplies.recipientFirst,
        StandardReplies.noValidRecipients, StandardReplies.helloSyntax, StandardReplies.mailSyntax,
        StandardReplies.recipientSyntax, StandardReplies.verifySyntax,
        StandardReplies.noArgumentAllowed, StandardReplies.badSender, StandardReplies.badRecipient,
        StandardReplies.senderTooLong, StandardReplies.recipientTooLong,
        StandardReplies.senderNeedsUTF8, StandardReplies.recipientNeedsUTF8,
        StandardReplies.unknownParameter, StandardReplies.badParameter,
        StandardReplies.repeatedParameter, StandardReplies.releaseOutOfRange,
        StandardReplies.messageTooBig,
        StandardReplies.headerTooBig, StandardReplies.textLineTooLong,
        StandardReplies.bareNewlineInMessage, StandardReplies.tooManyHops,
        StandardReplies.tooManyRecipients, StandardReplies.tooManyErrors,
        StandardReplies.tooManyUnrecognized, StandardReplies.tooManyNoops,
        StandardReplies.tooManyWithoutMessage, StandardReplies.tooManyRefusedRecipients,
        StandardReplies.tooManyTransactions, StandardReplies.tooManySessions,
        StandardReplies.tooManyNewSessions, StandardReplies.tooManyCommands,
        StandardReplies.tooManyFailedLogins, StandardReplies.tooManyFailedLoginsOfUser,
        StandardReplies.tooFast, StandardReplies.tooSlow,
        StandardReplies.timeout, StandardReplies.shuttingDown, StandardReplies.internalError,
        StandardReplies.connectDenied, StandardReplies.connectDeferred,
        StandardReplies.helloDenied, StandardReplies.helloDeferred, StandardReplies.mailDenied,
        StandardReplies.mailDeferred, StandardReplies.recipientDenied,
        StandardReplies.recipientDeferred, StandardReplies.recipientUndecided,
        StandardReplies.dataDenied, StandardReplies.dataDeferred, StandardReplies.queueDenied,
        StandardReplies.queueDeferred, StandardReplies.queueUndecided,
        StandardReplies.verifyDenied, StandardReplies.verifyDeferred, StandardReplies.helpDenied,
        StandardReplies.noopDenied, StandardReplies.unrecognizedDeferred,
        StandardReplies.unrecognizedClosing, StandardReplies.deniedClosing,
        StandardReplies.dataDeniedClosing, StandardReplies.noopDeniedClosing,
        StandardReplies.deferredClosing, StandardReplies.policyFailed,
        StandardReplies.policyFailedClosing, StandardReplies.policyFailedDenied,
        StandardReplies.authenticated, StandardReplies.authNeedsEncryption,
        StandardReplies.unknownMechanism, StandardReplies.noInitialResponse,
        StandardReplies.authCancelled, StandardReplies.badBase64, StandardReplies.badCredentials,
        StandardReplies.otherIdentity, StandardReplies.alreadyAuthenticated,
        StandardReplies.authInTransaction, StandardReplies.authSyntax,
        StandardReplies.loginDenied, StandardReplies.loginDeferred,
        StandardReplies.loginDeniedClosing, StandardReplies.policyFailedLogin,
        StandardReplies.tooManyFailedLogins,
    ]

    /// RFC 5321 §4.2.3, RFC 7504 §3 (521), RFC 4954 §6 (235, 454, 530, 535, 538).
    static let codes: Set<UInt16> = [
        211, 214, 220, 221, 250, 251, 252, 354, 421, 450, 451, 452, 455, 500, 501, 502, 503, 504,
        550, 551, 552, 553, 554, 555, 521, 235, 454, 530, 535, 538,
    ]

    @Test(arguments: all)
    func `every code we send is one that an RFC lists`(reply: SMTPReply) {
        #expect(Self.codes.contains(reply.code.rawValue))
    }

    @Test(arguments: all)
    func `every text we send is a reply of SMTP`(reply: SMTPReply) throws {
        #expect(ReplyCode(rawValue: reply.code.rawValue) != nil)
        if let status = reply.status {
            #expect(status.agrees(with: reply.code))
        } else {
            #expect(reply.code.rawValue == 354)
        }
        let wire = String(decoding: reply.wire, as: UTF8.self)
        #expect(wire.utf8.elementsEqual(reply.wire))
        #expect(wire.hasSuffix("\r\n"))
        let lines = wire.split(separator: "\r\n")
        for (index, line) in lines.enumerated() {
            #expect(line.utf8.count <= 510)
            #expect(line.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
            let separator = index + 1 < lines.count ? "-" : " "
            let status = reply.status.map { "\($0) " } ?? ""
            #expect(line.hasPrefix("\(reply.code.rawValue)\(separator)\(status)"))
        }
    }

    @Test func `a reply that closes says so by its number or its text`() {
        for reply in [StandardReplies.timeout, StandardReplies.shuttingDown] {
            #expect(reply.code.closes)
        }
        #expect(StandardReplies.unrecognizedClosing.code.closes)
        #expect(!StandardReplies.deniedClosing.code.closes)
    }
}
