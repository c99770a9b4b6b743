import NIOSSL

/// From when until when a certificate is valid.
struct CertificateDates {
    /// Unix seconds.
    let notBefore: Int
    let notAfter: Int

    init(_ certificate: NIOSSLCertificate) {
        self.notBefore = certificate.notValidBefore
        self.notAfter = certificate.notValidAfter
    }

    /// Days before its end in which a certificate is warned of.
    private static let warningDays = 14

    /// What is to be said of a certificate that is not valid, or soon no more; `nil` if nothing is.
    ///
    /// `name` says which certificate of the file it is; `now` is in Unix seconds.
    func warning(of name: String, in file: String, _ now: Int) -> String? {
        let days = self.notAfter.subtractingReportingOverflow(now).partialValue / 86_400
        if self.notAfter <= now { return "\(file): \(name) expired \(-days) days ago; renew it" }
        if days < Self.warningDays { return "\(file): \(name) expires in \(days) days; renew it" }
        if self.notBefore > now { return "\(file): \(name) is not valid yet; look at the clock" }
        return nil
    }
}
