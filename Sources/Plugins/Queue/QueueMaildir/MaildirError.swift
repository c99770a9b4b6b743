import Glibc
import System

/// Why a message could not be put into a Maildir.
struct MaildirError: Error, Equatable, CustomStringConvertible {
    /// What was tried: `fsync var/mail/new`.
    let action: String
    /// `errno`, or one of ours below 0.
    let code: Int32

    /// The spool file is shorter than the event says.
    static let messageTruncated: Int32 = -1
    /// The event's time was up before the copy was safe; there is none.
    static let deadlinePassed: Int32 = -2
    /// Another message has the name that belongs to this event.
    static let nameTaken: Int32 = -3
    /// There is no such Maildir, and the plugin is not to make one.
    static let noMaildir: Int32 = -4
    /// There are as many Maildirs as there may be.
    static let tooManyMaildirs: Int32 = -5

    init(_ action: String, code: Int32 = errno) {
        self.action = action
        self.code = code
    }

    init(_ error: SystemError) {
        self.init("\(error.call) \(error.subject)", code: error.code)
    }

    /// Makes calls that throw a ``SystemError``, and throws the plugin's error instead.
    static func wrapping<Result: ~Copyable>(
        _ calls: () throws(SystemError) -> Result
    ) throws(MaildirError) -> Result {
        do throws(SystemError) {
            return try calls()
        } catch {
            throw MaildirError(error)
        }
    }

    var description: String {
        switch self.code {
        case Self.messageTruncated: "\(self.action): the spool file is too short"
        case Self.deadlinePassed: "\(self.action): no time left"
        case Self.nameTaken: "\(self.action): there is another message of this name"
        case Self.noMaildir: "\(self.action): there is none, and `create no` makes none"
        case Self.tooManyMaildirs: "\(self.action): max_maildirs is reached"
        default: "\(self.action): \(String(cString: strerror(self.code)))"
        }
    }

    /// Whether the disk or the owner's share of it is full.
    var isStorageFull: Bool { self.code == ENOSPC || self.code == EDQUOT }

    /// Whether it will not get better by itself.
    var isPermanent: Bool { self.code == ENAMETOOLONG }
}
