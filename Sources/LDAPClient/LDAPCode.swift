internal import CLDAP

/// How the directory, or the library, says that an operation ended (RFC 4511 §4.1.9).
struct LDAPCode: Equatable {
    let number: Int32

    static let success = Self(number: 0)
    static let sizeLimitExceeded = Self(number: 4)

    /// Whether it says that this user may not log in with this password: inappropriateAuthentication (an entry without
    /// a password), invalidCredentials, unwillingToPerform (some directories say so of a user that is locked).
    var isRefusal: Bool { [48, 49, 53].contains(self.number) }

    /// In the library's words: `Invalid credentials (49)`.
    var text: String { "\(String(cString: ldap_err2string(self.number))) (\(self.number))" }
}

/// Why the directory cannot tell.
struct LDAPFailure: Error {
    let description: String

    init(_ description: String) { self.description = description }

    init(_ operation: String, _ code: LDAPCode, _ more: String = "") {
        self.description = "\(operation): \(code.text)\(more.isEmpty ? "" : ": \(more)")"
    }
}
