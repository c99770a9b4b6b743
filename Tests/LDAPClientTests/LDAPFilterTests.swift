import Testing

@testable import LDAPClient

struct LDAPFilterTests {
    @Test(arguments: [
        ("jo", "(uid=jo)"), ("jo.o-b_x+y@example.com", "(uid=jo.o-b_x+y@example.com)"),
        ("*", "(uid=\\2a)"), ("(", "(uid=\\28)"), (")", "(uid=\\29)"), ("\\", "(uid=\\5c)"),
        ("\0", "(uid=\\00)"), ("\u{7F}\n", "(uid=\\7f\\0a)"), ("é", "(uid=\\c3\\a9)"),
        ("jo)(objectClass=*", "(uid=jo\\29\\28objectClass\\3d\\2a)"),
        ("*)(uid=*))(|(uid=*", "(uid=\\2a\\29\\28uid\\3d\\2a\\29\\29\\28\\7c\\28uid\\3d\\2a)"),
        ("a&b|c!d<e>f~g,h;i\"j", "(uid=a\\26b\\7cc\\21d\\3ce\\3ef\\7eg\\2ch\\3bi\\22j)"),
        ("", "(uid=)"),
    ])
    func `a name is a value and nothing else`(name: String, filter: String) {
        #expect(LDAPFilter.equality("uid", Array(name.utf8)) == filter)
    }

    /// RFC 4515 §3: a parser of such text gets the same octets back.
    @Test func `each octet comes back`() throws {
        for octet in UInt8.min...UInt8.max {
            let filter = LDAPFilter.equality("mail", [octet])
            let value = Array(filter.utf8.dropFirst("(mail=".utf8.count).dropLast())
            #expect(value.allSatisfy { 0x20...0x7E ~= $0 })
            if value.count == 1 {
                #expect(value == [octet] && !Array("*()\\".utf8).contains(octet))
            } else {
                let digits = String(decoding: value.dropFirst(), as: UTF8.self)
                #expect(value[0] == 0x5C && digits.utf8.count == 2)
                #expect(UInt8(digits, radix: 16) == octet)
            }
        }
        #expect(LDAPFilter.equality("uid", [0xFF, 0xC3]) == "(uid=\\ff\\c3)")
    }

    @Test(arguments: ["uid", "mail", "cn;lang-de", "2.5.4.3", "sAMAccountName", "x-y"])
    func `an attribute's name is taken`(text: String) {
        #expect(LDAPFilter.isAttribute(text))
    }

    @Test(arguments: [
        "", "-a", "uid=", "a)(b", "u d", "ü", "a\0", ".1", String(repeating: "a", count: 101),
    ])
    func `what is no attribute's name is not taken`(text: String) {
        #expect(!LDAPFilter.isAttribute(text))
    }
}
