import PolicyKit

extension SMTPEnvelope {
    /// The envelope with those parameters of the client's that a next hop may want.
    ///
    /// - Throws: ``PluginError`` if an address or a value has control octets.
    init(
        _ sender: Sender,
        _ recipients: [Recipient],
        size: Int64?,
        _ transaction: TransactionSnapshot
    ) throws {
        var is8BitMIME = false
        var isBinaryMIME = false
        var isSMTPUTF8 = false
        var requiresTLS = false
        for parameter in sender.params {
            switch parameter.keyword {
            case "BODY":
                let body = parameter.value?.string?.uppercased()
                is8BitMIME = body == "8BITMIME"
                isBinaryMIME = body == "BINARYMIME"
            case "SMTPUTF8": isSMTPUTF8 = true
            case "REQUIRETLS": requiresTLS = true
            default: break
            }
        }
        let addresses = [sender.address.octets] + recipients.map(\.address.octets)
        // The frontend's grammar knows no such address; in a command it would be another command.
        guard addresses.allSatisfy({ $0.allSatisfy { $0 >= 0x20 && $0 != 0x7F } }) else {
            throw PluginError("an address with control octets")
        }
        self.init(
            sender: addresses[0],
            recipients: Array(addresses.dropFirst()),
            size: size,
            is8BitMIME: is8BitMIME,
            isSMTPUTF8: isSMTPUTF8 || addresses.contains { $0.contains { $0 > 0x7F } },
            isBinaryMIME: isBinaryMIME,
            requiresTLS: requiresTLS,
            hearsEach: transaction.repliesEach,
            notification: try Self.parameters(["RET", "ENVID"], of: sender.params),
            priority: try Self.parameters(["MT-PRIORITY"], of: sender.params),
            futureRelease: try Self.futureRelease(of: sender, transaction),
            recipientNotifications: try recipients.reduce(into: [:]) { found, recipient in
                let text = try Self.parameters(["NOTIFY", "ORCPT"], of: recipient.params)
                if !text.isEmpty { found[recipient.address.octets] = text }
            }
        )
    }

    /// HOLDFOR or HOLDUNTIL as the client said it.
    ///
    /// The time since MAIL is not taken off HOLDFOR: the hop releases the message so much later, never too
    /// early.
    private static func futureRelease(
        of sender: Sender,
        _ transaction: TransactionSnapshot
    ) throws -> [UInt8] {
        let said = try self.parameters(["HOLDFOR", "HOLDUNTIL"], of: sender.params)
        guard said.isEmpty == (transaction.holdUntilMilliseconds == nil) else {
            throw PluginError("hold_until_ms and the sender's parameters contradict each other")
        }
        return said
    }

    /// Those parameters that have one of `keywords`, as they stand in a command, a space before each.
    private static func parameters(
        _ keywords: Set<String>,
        of parameters: [ESMTPParameter]
    ) throws -> [UInt8] {
        var text: [UInt8] = []
        for parameter in parameters where keywords.contains(parameter.keyword) {
            guard let value = parameter.value?.octets, value.allSatisfy({ $0 > 0x20 && $0 != 0x7F })
            else { throw PluginError("a parameter with control octets") }
            text += " \(parameter.keyword)=".utf8
            text += value
        }
        return text
    }
}
