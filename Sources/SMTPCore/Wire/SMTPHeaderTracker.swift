import Octets

/// Follows a message's header block while it arrives: where it ends, and how far it has travelled.
///
/// ``HeaderGrammar`` read octet by octet. The block ends at the first empty line, or at the first line
/// that is neither a field nor the continuation of one: what follows a malformed line is body,
/// whatever it looks like. Values are not looked at, so that a header costs little more than a body.
///
/// - Note: RFC 5322 §2.2 (fields), RFC 5321 §6.3 (loops).
package struct SMTPHeaderTracker: Sendable {
    /// Octets of the block so far, CRLFs and the line that ended it included.
    private(set) var octets = 0

    /// Where the current line began: at the end, the offset of the body.
    ///
    /// An empty line that ends the block belongs to the body, as does a malformed one.
    private(set) var lineStart = 0

    /// Fields so far, the first line of a mailbox file among them.
    private(set) var fields = 0

    /// Received and Delivered-To fields so far.
    private(set) var hops = 0

    private var position = Position.lineStart
    /// The name's first sixteen octets in lower case, and its length.
    private var name: (UInt64, UInt64) = (0, 0)
    private var nameOctets = 0

    private enum Position {
        case lineStart
        case name
        /// White space between the name and its colon (RFC 5322 §4.5.3, obsolete but seen).
        case afterName
        case value
    }

    /// Whether the octets read last are of a field's value.
    var isInField: Bool { self.position == .value }

    /// Reads octets of one line, its CRLF excluded.
    ///
    /// - Returns: The offset after the octet that ended the block, or `nil` if it goes on.
    mutating func advance(
        over octets: UnsafeBufferPointer<UInt8>,
        from start: Int,
        to end: Int
    ) -> Int? {
        var index = start
        while index < end, self.position != .value {
            let octet = octets[index]
            index += 1
            guard self.isField(octet) else {
                self.octets += index - start
                return index
            }
        }
        self.octets += end - start
        return nil
    }

    /// Reads the end of a line.
    ///
    /// - Returns: `true` if it ended the block: the line was empty, or had no colon.
    mutating func lineEnded() -> Bool {
        self.octets += 2
        guard self.position == .value else { return true }
        self.position = .lineStart
        self.lineStart = self.octets
        return false
    }

    /// Takes one octet before the value.
    ///
    /// `false` if a field cannot look like this.
    private mutating func isField(_ octet: UInt8) -> Bool {
        switch self.position {
        case .lineStart:
            if octet.isBlank, self.lineStart > 0 {
                self.position = .value
                return true
            }
            guard HeaderGrammar.isNameOctet(octet) else { return false }
            self.position = .name
            self.name = (0, 0)
            self.nameOctets = 0
            self.appendToName(octet)
            return true

        case .name:
            if HeaderGrammar.isNameOctet(octet) {
                self.appendToName(octet)
                return true
            }
            return self.endsName(octet)

        case .afterName:
            return self.endsName(octet)

        case .value:
            return true
        }
    }

    private mutating func endsName(_ octet: UInt8) -> Bool {
        if octet == .colon {
            self.position = .value
            self.fields += 1
            if self.isHop { self.hops += 1 }
            return true
        }
        if octet.isBlank {
            self.position = .afterName
            return true
        }
        guard self.position == .afterName, self.isMailboxLine else { return false }
        self.position = .value
        self.fields += 1
        return true
    }

    private mutating func appendToName(_ octet: UInt8) {
        // Setting bit 5 folds letters, and makes no letter or hyphen of another name octet.
        let folded = UInt64(octet | 0x20)
        if self.nameOctets < 8 {
            self.name.0 = self.name.0 << 8 | folded
        } else if self.nameOctets < 16 {
            self.name.1 = self.name.1 << 8 | folded
        }
        self.nameOctets += 1
    }

    /// The message starts with `From `, as in a mailbox file, or with `>From `, which such a file makes
    /// of it.
    private var isMailboxLine: Bool {
        guard self.lineStart == 0 else { return false }
        switch self.nameOctets {
        case 4: return self.name.0 == 0x6672_6F6D  // from
        case 5: return self.name.0 == 0x3E_6672_6F6D  // >from
        default: return false
        }
    }

    private var isHop: Bool {
        switch self.nameOctets {
        case 8: self.name.0 == 0x7265_6365_6976_6564  // received
        case 12: self.name.0 == 0x6465_6C69_7665_7265 && self.name.1 == 0x642D_746F  // delivered-to
        default: false
        }
    }
}
