import PolicyKit

extension HookEvent where Stage: HeaderStage & TransactionStage {
    /// The longest subject of which something is kept, in octets: encoded words make it longer.
    private static var maximumSubjectOctets: Int { 8_192 }

    /// Gives the message one subject: the first field gets `value`, which follows its colon, others go.
    ///
    /// Octets that may not stand there become encoded words (RFC 2047).
    func setSubject(_ value: Bytes) {
        let subjects = self.headers.filter { $0.name.equalsIgnoringASCIICase("Subject") }
        guard let subject = subjects.first, subjects.count == 1 else {
            if !subjects.isEmpty { self.deleteHeaders(named: "Subject") }
            return self.addHeader("Subject", value, at: .bottom)
        }
        self.setHeader(subject, to: value)
    }

    /// Puts `prefix` in front of the message's one subject, whose own octets stay.
    func prefixSubject(_ prefix: String) {
        let subject = self.headers.first { $0.name.equalsIgnoringASCIICase("Subject") }
        var value = Array((subject?.value.octets ?? []).prefix(Self.maximumSubjectOctets))
        if value.last == 0x0D { value.removeLast() }  // half a fold
        let hasSpace = value.first.map { $0 <= 0x20 } ?? true
        self.setSubject(
            Bytes(octets: Array(" \(prefix)\(hasSpace ? "" : " ")".utf8) + value)
        )
    }
}
