/// The memory and disk of the questions that a shadow was shown and has not answered.
///
/// No session waits for a shadow, so a slow shadow holds its questions for long. They have limits of
/// their own: the questions in memory, and the second names of messages on the disk.
struct ShadowBudget {
    /// Messages kept for one shadow at once, on all loops together.
    static let mostMessages = 1_000

    /// What one question holds, in octets.
    struct Share {
        let octets: Int
        /// Size of the message's file; `nil` if it is shown none.
        let messageOctets: Int?
    }

    private(set) var octets = 0
    private(set) var messageOctets = 0
    private(set) var messages = 0

    /// Takes a share, if all limits allow it.
    mutating func take(
        _ share: Share,
        most: Int,
        mostMessageOctets: Int,
        mostMessages: Int = ShadowBudget.mostMessages
    ) -> Bool {
        guard share.octets <= most - self.octets else { return false }
        if let size = share.messageOctets {
            guard self.messages < mostMessages,
                size <= mostMessageOctets - self.messageOctets
            else { return false }
            self.messages += 1
            self.messageOctets += size
        }
        self.octets += share.octets
        return true
    }

    /// Gives back what was taken.
    mutating func give(_ share: Share) {
        self.octets -= share.octets
        guard let size = share.messageOctets else { return }
        self.messages -= 1
        self.messageOctets -= size
    }
}
