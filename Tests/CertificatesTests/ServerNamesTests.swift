import Testing

@testable import Certificates

@Suite struct ServerNamesTests {
    private let names = ServerNames([
        ["mx1.example.com", "mail.example.com"], ["*.example.com", "mx1.example.com"],
        ["*.example.org", "example.org"],
    ])

    @Test(
        arguments: [
            ("mx1.example.com", 0), ("MAIL.example.COM", 0), ("other.example.com", 1),
            ("a.example.org", 2), ("example.org", 2), ("a.b.example.org", nil),
            ("example.com", nil),
            ("", nil), (".", nil), (".example.com", 1), ("org", nil), ("*.example.org", 2),
        ] as [(String, Int?)]
    )
    func `the first certificate that has the name is shown`(name: String, certificate: Int?) {
        #expect(self.names.certificate(for: name) == certificate)
    }
}
