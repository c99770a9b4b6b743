import Testing

@testable import Configuration

@Suite struct RecipientDirectoryTests {
    @Test(arguments: [
        ("/home/%u/.qpsmtpd", "bob", "example.org", "/home/bob/.qpsmtpd"),
        ("/r/%h/%u", "Bob+News", "Example.ORG", "/r/example.org/bob+news"),
        ("/r/%a", "bob", "example.org", "/r/bob@example.org"),
        ("/r/100%/%u%", "a_b-c=d.e", "example.org", "/r/100%/a_b-c=d.e%"),
        ("/r/%%u", "bob", "example.org", "/r/%bob"),
    ])
    func `placeholders are filled in`(pattern: String, local: String, domain: String, path: String)
    {
        let directory = RecipientDirectory(pattern: pattern)
        #expect(directory.path(local: Array(local.utf8), domain: Array(domain.utf8)) == path)
    }

    @Test(arguments: [
        ("", "example.org"), (".", "example.org"), ("..", "example.org"), ("a/b", "example.org"),
        ("../b", "example.org"), ("-rf", "example.org"), ("bob\0", "example.org"),
        ("b\u{f6}b", "example.org"),
        ("bob", ""), ("bob", "[192.0.2.1]"), ("bob", ".."), ("b%u", "example.org"),
        (String(repeating: "a", count: 129), "example.org"),
    ])
    func `a recipient whose name is no name of a folder has none`(local: String, domain: String) {
        let directory = RecipientDirectory(pattern: "/r/%h/%u")
        #expect(directory.path(local: Array(local.utf8), domain: Array(domain.utf8)) == nil)
    }

    /// Whatever octets come, the path has the folders of the pattern and no other.
    @Test func `a path has as many folders as its pattern`() {
        let directory = RecipientDirectory(pattern: "/r/%h/%u/x")
        var random = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let local = (0..<Int.random(in: 0...4, using: &random)).map { _ in
                UInt8.random(in: 0x20...0x7F)
            }
            guard let path = directory.path(local: local, domain: Array("a.test".utf8)) else {
                continue
            }
            let parts = path.split(separator: "/", omittingEmptySubsequences: false)
            #expect(
                parts.count == 5 && !parts.dropFirst().contains { ["", ".", ".."].contains($0) }
            )
        }
    }
}
